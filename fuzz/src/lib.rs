//! Helpers that the fuzz targets share.

/// Splits the input of a target at its first line break: the first line is one argument, the rest another.
pub fn split_line(text: &str) -> (&str, &str) {
    text.split_once('\n').unwrap_or((text, ""))
}
