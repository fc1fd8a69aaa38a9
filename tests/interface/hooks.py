"""Constraints for schemathesis that a schema cannot express."""

import schemathesis


@schemathesis.hook
def filter_case(context, case):
    """Leaves out bodies whose validity depends on the rest of the request, the clock or the configuration."""
    is_wrong = case.meta is None or case.meta.generation.mode.is_negative
    body = case.body if isinstance(case.body, dict) else {}
    return not (made_right_by_query(body, case.query or {}) if is_wrong else up_to_the_server(body))


def made_right_by_query(body, query):
    """A language in the query overrides that of the body. With partial=true the refusal of a document
    stands in its place in an answer of status 200. A text to embed may stand without the list."""
    if isinstance(body.get("input"), str):
        return True
    return str(query.get("partial")).lower() == "true" or ("language" in body and "language" in query)


def up_to_the_server(body):
    """A key's expiry must be in the future, and its plan must be in the configuration."""
    return body.get("expires_at") is not None or body.get("plan") is not None
