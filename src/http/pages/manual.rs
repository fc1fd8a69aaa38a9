//! The pages of `docs/` as HTML, made once from their Markdown.

use std::fmt::Write as _;
use std::sync::LazyLock;

use pulldown_cmark::{CowStr, Event, HeadingLevel, Options, Parser, Tag, TagEnd, html};
use serde_json::json;

/// A page of `docs/`.
struct Source {
    group: &'static str,
    name: &'static str,
    markdown: &'static str,
}

/// Names the pages in the order of the menu, in groups.
macro_rules! sources {
    ($($group:literal: $($name:literal,)*;)*) => {
        &[$($(Source {
            group: $group,
            name: $name,
            markdown: include_str!(concat!("../../../docs/", $name, ".md")),
        },)*)*]
    };
}

const SOURCES: &[Source] = sources! {
    "Start": "quick-start", "cli", "faq",;
    "Call the server": "clients", "python", "api", "jobs", "topics", "errors",;
    "Run the server": "configuration", "operations", "security", "performance", "soak",;
    "Understand": "text", "models", "architecture",;
};

/// The page that a script renders from `/openapi.json`.
const REFERENCE: &str = "reference";

/// A page in HTML.
struct Page {
    name: &'static str,
    html: String,
}

/// The group of that page.
const REFERENCE_GROUP: &str = "Call the server";

static PAGES: LazyLock<Vec<Page>> = LazyLock::new(|| {
    let mut pages: Vec<Page> = SOURCES
        .iter()
        .map(|source| Page {
            name: source.name,
            html: frame(source.name, title(source.markdown), &article(source.markdown).html, ""),
        })
        .collect();
    let article = "<h1>API reference</h1>\n<p>Drawn from <a href=\"/openapi.json\">/openapi.json</a>, which \
                   any tool for OpenAPI 3.1 reads too.</p>\n<div id=\"reference\"></div>\n<noscript><p>It is \
                   drawn with JavaScript; <a href=\"/docs/api\">the HTTP interface</a> tells the same.</p></noscript>";
    let script = "  <script type=\"module\" src=\"/web/reference.js\"></script>\n";
    pages.push(Page { name: REFERENCE, html: frame(REFERENCE, "API reference", article, script) });
    pages
});

/// What the search of the documentation reads: each section with its words.
static INDEX: LazyLock<String> = LazyLock::new(|| {
    let sections = SOURCES.iter().flat_map(|source| {
        article(source.markdown).sections.into_iter().map(|section| {
            let page = title(source.markdown);
            json!({"page": source.name, "title": page, "id": section.id, "heading": section.title, "text": section.text})
        })
    });
    sections.collect::<serde_json::Value>().to_string()
});

/// The search index as JSON.
pub(super) fn index() -> &'static str {
    &INDEX
}

/// The name of the first page.
pub(super) const START: &str = SOURCES[0].name;

/// The page with this name; a name may end as the file's does.
pub(super) fn page(name: &str) -> Option<&'static str> {
    let name = name.strip_suffix(".md").unwrap_or(name);
    PAGES.iter().find(|page| page.name == name).map(|page| page.html.as_str())
}

/// Name, title and group of each page in the order of the menu.
fn entries() -> Vec<(&'static str, &'static str, &'static str)> {
    let mut entries: Vec<_> =
        SOURCES.iter().map(|source| (source.name, title(source.markdown), source.group)).collect();
    let place = entries
        .iter()
        .rposition(|(_, _, group)| *group == REFERENCE_GROUP)
        .map_or(entries.len(), |last| last + 1);
    entries.insert(place, (REFERENCE, "API reference", REFERENCE_GROUP));
    entries
}

/// The whole page of an article.
fn frame(name: &str, title: &str, article: &str, script: &str) -> String {
    let entries = entries();
    let mut menu = String::new();
    let mut group = "";
    for (entry, title, of_entry) in &entries {
        // Writing to a string cannot fail.
        if *of_entry != group {
            let end = if group.is_empty() { "" } else { "        </ul>\n" };
            group = of_entry;
            let _ = writeln!(menu, "{end}        <h2>{group}</h2>\n        <ul>");
        }
        let current = if *entry == name { " aria-current=\"page\"" } else { "" };
        let _ = writeln!(menu, "          <li><a href=\"/docs/{entry}\"{current}>{title}</a></li>");
    }
    menu.push_str("        </ul>\n");
    let place = entries.iter().position(|(entry, ..)| *entry == name).unwrap_or_default();
    let mut turn = String::new();
    if let Some((entry, title, _)) = place.checked_sub(1).and_then(|before| entries.get(before)) {
        let _ = writeln!(turn, "      <a rel=\"prev\" href=\"/docs/{entry}\">Previous: {title}</a>");
    }
    if let Some((entry, title, _)) = entries.get(place + 1) {
        let _ = writeln!(turn, "      <a rel=\"next\" href=\"/docs/{entry}\">Next: {title}</a>");
    }
    relative(&format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n  <meta charset=\"utf-8\">\n  \
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n  \
         <meta name=\"color-scheme\" content=\"light dark\">\n  <title>{title} · sentor</title>\n  \
         <link rel=\"icon\" href=\"/web/icon.svg\" type=\"image/svg+xml\">\n  \
         <link rel=\"stylesheet\" href=\"/web/style.css\">\n  \
         <script type=\"module\" src=\"/web/docs.js\"></script>\n{script}</head>\n<body class=\"manual\">\n  \
         <a class=\"skip\" href=\"#content\">Skip to the content</a>\n  <header>\n    \
         <p class=\"home\"><a href=\"/\"><img src=\"/web/icon.svg\" alt=\"\" width=\"24\" height=\"24\"> sentor</a></p>\n    \
         <search class=\"search\" id=\"search\" hidden>\n      <label class=\"hidden\" for=\"search-words\">Search the documentation</label>\n      \
         <input id=\"search-words\" type=\"search\" placeholder=\"Search\" autocomplete=\"off\" spellcheck=\"false\">\n      \
         <p id=\"search-status\" class=\"hidden\" role=\"status\"></p>\n      <ul id=\"search-results\" hidden></ul>\n    </search>\n  </header>\n  \
         <div class=\"site\">\n    <nav class=\"side\" aria-label=\"Documentation\">\n      <details id=\"menu\" open>\n        \
         <summary>All pages</summary>\n{menu}      </details>\n    </nav>\n    \
         <main id=\"content\">\n<article>\n{article}\n</article>\n    <nav class=\"turn\" aria-label=\"Previous and next page\">\n{turn}    </nav>\n    \
         </main>\n  </div>\n</body>\n</html>\n"
    ))
}

/// The page that tells that an address leads nowhere; `root` is the way from there to the first page.
pub(super) fn missing(root: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n  <meta charset=\"utf-8\">\n  \
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n  \
         <meta name=\"color-scheme\" content=\"light dark\">\n  <title>Not found · sentor</title>\n  \
         <link rel=\"icon\" href=\"{root}web/icon.svg\" type=\"image/svg+xml\">\n  \
         <link rel=\"stylesheet\" href=\"{root}web/style.css\">\n</head>\n<body>\n  <header>\n    \
         <p class=\"home\"><a href=\"{root}\"><img src=\"{root}web/icon.svg\" alt=\"\" width=\"24\" height=\"24\"> sentor</a></p>\n  \
         </header>\n  <main>\n    <h1>There is no page at this address</h1>\n    \
         <p>It may have been moved or mistyped. These lead on:</p>\n    <ul>\n      \
         <li><a href=\"{root}\">score a text or a file</a></li>\n      \
         <li><a href=\"{root}docs\">the documentation</a>, which can be searched</li>\n      \
         <li><a href=\"{root}docs/reference\">the API reference</a></li>\n    </ul>\n  </main>\n</body>\n</html>\n"
    )
}

/// Makes the links of a page relative to `/docs/`, so that they work where a proxy serves everything below some path.
fn relative(html: &str) -> String {
    html.replace("=\"/docs/", "=\"").replace("=\"/", "=\"../")
}

/// The first heading.
fn title(markdown: &str) -> &str {
    markdown.lines().find_map(|line| line.strip_prefix("# ")).unwrap_or("sentor")
}

/// A page's text in HTML, and its sections for the search.
struct Article {
    html: String,
    sections: Vec<Section>,
}

fn article(markdown: &str) -> Article {
    let mut events: Vec<Event<'_>> = Parser::new_ext(markdown, Options::ENABLE_TABLES).collect();
    let sections = name_headings(&mut events);
    let contents = contents(&sections);
    let mut in_dropped_link = false;
    let mut in_table = false;
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
        Event::Code(code) if in_table => Some(Event::InlineHtml(breakable(&code).into())),
        other => {
            match &other {
                Event::Start(Tag::Table(_)) => in_table = true,
                Event::End(TagEnd::Table) => in_table = false,
                _ => {}
            }
            Some(other)
        }
    });
    let mut out = String::new();
    html::push_html(&mut out, events);
    // A scrolling block must be focusable by keyboard, and an empty table header must not be a header.
    let out = out.replace("<pre>", "<pre tabindex=\"0\">").replace("<th></th>", "<td></td>");
    Article { html: out.replacen("</h1>\n", &format!("</h1>\n{contents}"), 1), sections }
}

/// Code in a table, which may break behind the signs between the words of a name, and nowhere else.
fn breakable(code: &str) -> String {
    let escaped = code.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    format!("<code>{}</code>", escaped.replace('_', "_<wbr>").replace('/', "/<wbr>"))
}

/// A section of a page: a heading and what stands under it. The first has neither identifier nor heading.
#[derive(Default)]
struct Section {
    id: String,
    title: String,
    level: Option<HeadingLevel>,
    text: String,
}

/// The list of a long page's sections; empty for a short page.
fn contents(sections: &[Section]) -> String {
    const LONG: usize = 5;
    let main: Vec<_> = sections.iter().filter(|section| section.level == Some(HeadingLevel::H2)).collect();
    if main.len() < LONG {
        return String::new();
    }
    let mut list = String::from("<nav class=\"contents\" aria-label=\"On this page\">\n<ul>\n");
    for Section { id, title, .. } in main {
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
    let mut sections = vec![Section::default()];
    let mut open: Option<usize> = None;
    let mut in_title = false;
    let mut starts = Vec::new();
    for (index, event) in events.iter().enumerate() {
        let section = sections.last_mut().expect("it begins with one, and only grows");
        match event {
            Event::Start(Tag::Heading { level: HeadingLevel::H1, .. }) => in_title = true,
            Event::Start(Tag::Heading { level, .. }) => {
                open = Some(index);
                sections.push(Section { level: Some(*level), ..Section::default() });
            }
            Event::End(TagEnd::Heading(_)) => {
                in_title = false;
                if let Some(start) = open.take() {
                    section.id = slug(&section.title);
                    starts.push((start, section.id.clone()));
                }
            }
            Event::Text(text) | Event::Code(text) if open.is_some() => section.title.push_str(text),
            // The page's title stands in the index already.
            Event::Text(text) | Event::Code(text) if !in_title => section.text.push_str(text),
            Event::End(_) | Event::SoftBreak | Event::HardBreak => section.text.push(' '),
            _ => {}
        }
    }
    for (index, name) in starts {
        if let Event::Start(Tag::Heading { id, .. }) = &mut events[index] {
            *id = Some(CowStr::from(name));
        }
    }
    for section in &mut sections {
        section.text = section.text.split_whitespace().collect::<Vec<_>>().join(" ");
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
        assert!(!article("# One\n\n## Two\n").html.contains("contents"), "a short page needs no list");
        assert!(
            article("# A\n## B\n## C\n## D\n## E\n## `F<T>` & g\n").html.contains(">F&lt;T> &amp; g</a>")
        );
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
        assert!(article("a <script>x</script> `<b>`").html.contains("&lt;script&gt;"));
        let table = article("| a |\n| --- |\n| `<b>_c` |\n").html;
        assert!(table.contains("<code>&lt;b&gt;_<wbr>c</code>"), "{table}");
    }

    #[test]
    fn every_page_leads_to_the_ones_beside_it() {
        let first = page(START).expect("the page is there");
        assert!(first.contains("rel=\"next\"") && !first.contains("rel=\"prev\""));
        let entries = entries();
        for (name, ..) in &entries[1..] {
            assert!(page(name).is_some_and(|page| page.contains("rel=\"prev\"")), "{name}");
        }
    }

    #[test]
    fn the_search_finds_sections_by_their_words() {
        let sections: Vec<serde_json::Value> = serde_json::from_str(index()).expect("the index is JSON");
        let metrics =
            sections.iter().find(|section| section["page"] == "operations" && section["id"] == "metrics");
        assert!(
            metrics
                .is_some_and(|section| section["text"].as_str().is_some_and(|text| text.contains("sentor_")))
        );
    }
}
