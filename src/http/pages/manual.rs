//! The pages of `docs/` as HTML, made once from their Markdown.

use std::fmt::Write as _;
use std::sync::LazyLock;

use pulldown_cmark::{CowStr, Event, HeadingLevel, Options, Parser, Tag, TagEnd, html};

/// A page of `docs/`.
struct Source {
    name: &'static str,
    markdown: &'static str,
}

/// Names the pages in the order of the menu.
macro_rules! sources {
    ($($name:literal,)*) => {
        [$(Source { name: $name, markdown: include_str!(concat!("../../../docs/", $name, ".md")) },)*]
    };
}

const SOURCES: &[Source] = &sources! {
    "quick-start",
    "clients",
    "python",
    "api",
    "topics",
    "errors",
    "cli",
    "configuration",
    "operations",
    "security",
    "models",
    "performance",
    "soak",
    "text",
    "architecture",
    "faq",
};

/// The page that a script renders from `/openapi.json`.
const REFERENCE: &str = "reference";

/// A page in HTML.
struct Page {
    name: &'static str,
    html: String,
}

static PAGES: LazyLock<Vec<Page>> = LazyLock::new(|| {
    let mut pages: Vec<Page> = SOURCES
        .iter()
        .map(|source| Page {
            name: source.name,
            html: frame(source.name, title(source.markdown), &article(source.markdown), ""),
        })
        .collect();
    let article = "<h1>API reference</h1>\n<p>Drawn from <a href=\"/openapi.json\">/openapi.json</a>, which \
                   any tool for OpenAPI 3.1 reads too.</p>\n<div id=\"reference\"></div>\n<noscript><p>It is \
                   drawn with JavaScript; <a href=\"/docs/api\">the HTTP interface</a> tells the same.</p></noscript>";
    let script = "  <script type=\"module\" src=\"/web/reference.js\"></script>\n";
    pages.push(Page { name: REFERENCE, html: frame(REFERENCE, "API reference", article, script) });
    pages
});

/// The name of the first page.
pub(super) const START: &str = SOURCES[0].name;

/// The page with this name; a name may end as the file's does.
pub(super) fn page(name: &str) -> Option<&'static str> {
    let name = name.strip_suffix(".md").unwrap_or(name);
    PAGES.iter().find(|page| page.name == name).map(|page| page.html.as_str())
}

/// The whole page of an article.
fn frame(name: &str, title: &str, article: &str, script: &str) -> String {
    let mut menu = String::new();
    let entries = SOURCES.iter().map(|source| (source.name, self::title(source.markdown)));
    for (entry, title) in entries.chain([(REFERENCE, "API reference")]) {
        let current = if entry == name { " aria-current=\"page\"" } else { "" };
        // Writing to a string cannot fail.
        let _ = writeln!(menu, "      <li><a href=\"/docs/{entry}\"{current}>{title}</a></li>");
    }
    relative(&format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n  <meta charset=\"utf-8\">\n  \
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n  \
         <meta name=\"color-scheme\" content=\"light dark\">\n  <title>{title} · sentor</title>\n  \
         <link rel=\"icon\" href=\"/web/icon.svg\" type=\"image/svg+xml\">\n  \
         <link rel=\"stylesheet\" href=\"/web/style.css\">\n{script}</head>\n<body>\n  \
         <a class=\"skip\" href=\"#content\">Skip to the content</a>\n  <header>\n    \
         <p class=\"home\"><a href=\"/\"><img src=\"/web/icon.svg\" alt=\"\" width=\"24\" height=\"24\"> sentor</a></p>\n  </header>\n  \
         <nav aria-label=\"Documentation\">\n    <ul class=\"pages\">\n{menu}    </ul>\n  </nav>\n  \
         <main id=\"content\">\n<article>\n{article}\n</article>\n  </main>\n</body>\n</html>\n"
    ))
}

/// Makes the links of a page relative to `/docs/`, so that they work where a proxy serves everything below some path.
fn relative(html: &str) -> String {
    html.replace("=\"/docs/", "=\"").replace("=\"/", "=\"../")
}

/// The first heading.
fn title(markdown: &str) -> &str {
    markdown.lines().find_map(|line| line.strip_prefix("# ")).unwrap_or("sentor")
}

fn article(markdown: &str) -> String {
    let mut events: Vec<Event<'_>> = Parser::new_ext(markdown, Options::ENABLE_TABLES).collect();
    let contents = contents(&name_headings(&mut events));
    let mut in_dropped_link = false;
    let events = events.into_iter().filter_map(|event| match event {
        Event::Start(Tag::Link { link_type, dest_url, title, id }) => {
            let target = target(&dest_url);
            in_dropped_link = target.is_none();
            target.map(|url| Event::Start(Tag::Link { link_type, dest_url: url.into(), title, id }))
        }
        Event::End(TagEnd::Link) if in_dropped_link => None,
        // Comments for the tests of the documentation.
        Event::Html(markup) if markup.trim_start().starts_with("<!--") => None,
        // The documentation has no inline HTML, so anything that looks like it is text.
        Event::Html(markup) | Event::InlineHtml(markup) => Some(Event::Text(markup)),
        other => Some(other),
    });
    let mut out = String::new();
    html::push_html(&mut out, events);
    // A scrolling block must be focusable by keyboard, and an empty table header must not be a header.
    let out = out.replace("<pre>", "<pre tabindex=\"0\">").replace("<th></th>", "<td></td>");
    out.replacen("</h1>\n", &format!("</h1>\n{contents}"), 1)
}

/// A section of a page.
struct Section {
    id: String,
    title: String,
}

/// The list of a long page's sections; empty for a short page.
fn contents(sections: &[Section]) -> String {
    const LONG: usize = 5;
    if sections.len() < LONG {
        return String::new();
    }
    let mut list = String::from("<nav class=\"contents\" aria-label=\"On this page\">\n<ul>\n");
    for Section { id, title } in sections {
        let title = title.replace('&', "&amp;").replace('<', "&lt;");
        // Writing to a string cannot fail.
        let _ = writeln!(list, "<li><a href=\"#{id}\">{title}</a></li>");
    }
    list.push_str("</ul>\n</nav>\n");
    list
}

/// Gives each heading the same identifier as code hosts do, so that links into a page work in both places. Returns the
/// sections of the page.
fn name_headings(events: &mut [Event<'_>]) -> Vec<Section> {
    let mut open: Option<(usize, String)> = None;
    let mut headings = Vec::new();
    for (index, event) in events.iter().enumerate() {
        match event {
            Event::Start(Tag::Heading { level, .. }) if *level > HeadingLevel::H1 => {
                open = Some((index, String::new()));
            }
            Event::End(TagEnd::Heading(_)) => headings.extend(open.take()),
            Event::Text(text) | Event::Code(text) => {
                if let Some((_, words)) = &mut open {
                    words.push_str(text);
                }
            }
            _ => {}
        }
    }
    let mut sections = Vec::new();
    for (index, words) in headings {
        if let Event::Start(Tag::Heading { id, level, .. }) = &mut events[index] {
            let name = slug(&words);
            *id = Some(CowStr::from(name.clone()));
            if *level == HeadingLevel::H2 {
                sections.push(Section { id: name, title: words });
            }
        }
    }
    sections
}

fn slug(heading: &str) -> String {
    heading
        .chars()
        .filter(|character| character.is_alphanumeric() || " -_".contains(*character))
        .map(|character| if character == ' ' { '-' } else { character.to_ascii_lowercase() })
        .collect()
}

/// The target of a link of `docs/` in the running server; `None` for a file that only the repository has.
fn target(link: &str) -> Option<String> {
    if link.starts_with(['#', '/']) || link.contains("://") {
        return Some(link.to_owned());
    }
    let (path, fragment) = link.split_once('#').unwrap_or((link, ""));
    let name = path.strip_suffix(".md").filter(|name| SOURCES.iter().any(|source| source.name == *name))?;
    Some(if fragment.is_empty() { format!("/docs/{name}") } else { format!("/docs/{name}#{fragment}") })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::ErrorCode;

    #[test]
    fn every_link_between_pages_leads_to_a_heading() {
        for Page { name, html } in PAGES.iter() {
            for link in html.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next()) {
                let (path, fragment) = link.split_once('#').unwrap_or((link, ""));
                assert!(!path.starts_with('/'), "{name}: {link} breaks below the path of a proxy");
                let is_outside = path.starts_with("../") || path.contains(':');
                let target = if path.is_empty() { Some(html.as_str()) } else { page(path) };
                if let Some(target) = target.filter(|_| !fragment.is_empty()) {
                    assert!(target.contains(&format!("id=\"{fragment}\"")), "{name}: {link}");
                }
                assert!(is_outside || target.is_some(), "{name}: {link}");
            }
        }
    }

    #[test]
    fn a_long_page_lists_its_sections() {
        let page = page("operations").expect("the page is there");
        for section in ["<li><a href=\"#metrics\">Metrics</a></li>", "<h2 id=\"metrics\">"] {
            assert!(page.contains(section), "{section}");
        }
        assert!(!article("# One\n\n## Two\n").contains("contents"), "a short page needs no list");
        assert!(article("# A\n## B\n## C\n## D\n## E\n## `F<T>` & g\n").contains(">F&lt;T> &amp; g</a>"));
    }

    #[test]
    fn every_error_code_has_its_section() {
        let errors = page("errors").expect("the page is there");
        for code in ErrorCode::ALL {
            assert!(errors.contains(&format!("<h2 id=\"{}\">", code.name())), "{}", code.name());
        }
    }

    #[test]
    fn markup_in_a_page_is_text() {
        assert!(article("a <script>x</script> `<b>`").contains("&lt;script&gt;"));
    }
}
