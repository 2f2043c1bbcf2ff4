//! Problems as text for people, drawn by `annotate-snippets` (what cargo uses).

use super::{Diagnostic, Severity, mask::mask};
use crate::config::source::underlined;
use annotate_snippets::{
    AnnotationKind, Group, Level, Origin, Renderer, Snippet, normalize_untrusted_str, renderer::DecorStyle,
};
use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

/// Every finding with its place, one empty line between two, and how many there are at the end.
pub(super) fn human<'a>(
    found: impl Iterator<Item = &'a Diagnostic>,
    texts: &BTreeMap<PathBuf, Arc<str>>,
    color: bool,
) -> String {
    let renderer = if color { Renderer::styled() } else { Renderer::plain() };
    let renderer = renderer.decor_style(DecorStyle::Ascii);
    let masked: BTreeMap<&PathBuf, String> = texts.iter().map(|(file, text)| (file, mask(text))).collect();
    let mut out = String::new();
    let (mut errors, mut warnings) = (0_usize, 0_usize);
    for one in found {
        match one.severity {
            Severity::Error => errors += 1,
            Severity::Warning => warnings += 1,
        }
        let source = masked.get(&one.file).map(String::as_str);
        out.push_str(&renderer.render(&[group(one, source)]));
        out.push_str("\n\n");
    }
    out.push_str(&summary(errors, warnings));
    out
}

fn group<'a>(one: &'a Diagnostic, source: Option<&'a str>) -> Group<'a> {
    let level = match one.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let title =
        if one.key.is_empty() { one.message.clone() } else { format!("{}: {}", one.key, one.message) };
    let title = level.primary_title(title);
    let path = one.file.display().to_string();
    let group = match (&one.span, source) {
        (Some(span), Some(source)) => {
            let marked = AnnotationKind::Primary.span(underlined(source, span));
            title.element(Snippet::source(source).path(path).annotation(marked))
        }
        _ => title.element(Origin::path(path)),
    };
    if one.help.is_empty() {
        group
    } else {
        group.element(Level::HELP.message(normalize_untrusted_str(&one.help)))
    }
}

fn summary(errors: usize, warnings: usize) -> String {
    let count = |number: usize, word: &str| match number {
        0 => None,
        1 => Some(format!("1 {word}")),
        many => Some(format!("{many} {word}s")),
    };
    let parts: Vec<String> =
        [count(errors, "problem"), count(warnings, "warning")].into_iter().flatten().collect();
    if parts.is_empty() { String::new() } else { format!("{}\n", parts.join(", ")) }
}
