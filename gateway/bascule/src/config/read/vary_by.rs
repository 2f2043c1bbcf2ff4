//! `vary_by` of an operation's `cache`.

use crate::config::{
    reader::Field,
    settings::{CachePolicy, VaryBy},
    suggest::did_you_mean,
};
use http::HeaderName;

/// Reads the list. `params` are the operation's parameters, `forwarded` the headers that it passes on.
pub(crate) fn vary_by(
    field: &Field<'_, '_>,
    policy: Option<CachePolicy>,
    params: &[String],
    forwarded: &[HeaderName],
) -> VaryBy {
    let (mut chosen, mut headers, mut caller) = (Vec::new(), Vec::new(), false);
    for item in field.items().unwrap_or_default() {
        let Some(text) = item.text() else { continue };
        match text.value().split_once(':') {
            None if text.value() == "caller" => caller = true,
            Some(("param", name)) if params.iter().any(|known| known == name) => chosen.push(name.to_owned()),
            Some(("param", name)) => {
                let help = did_you_mean(name, params.iter().map(String::as_str));
                let help = help.unwrap_or_else(|| "name a parameter of this operation".to_owned());
                item.problem(format!("there is no parameter `{}` here", name.escape_debug()), help);
            }
            Some(("header", _)) if matches!(policy, Some(CachePolicy::Http(_))) => {
                item.problem("with `http` the provider's `Vary` says which headers matter", "remove it")
            }
            Some(("header", name)) => {
                match forwarded.iter().find(|known| known.as_str().eq_ignore_ascii_case(name)) {
                    Some(known) => headers.push(known.clone()),
                    None => item.problem(
                        format!("`{}` does not go upstream", name.escape_debug()),
                        "add it to `forward_headers`",
                    ),
                }
            }
            _ => item.problem(
                format!("`{}` is not known here", text.written()),
                "write \"param:NAME\", \"header:NAME\" or \"caller\"",
            ),
        }
    }
    VaryBy {
        params: (!chosen.is_empty()).then(|| chosen.into()),
        headers: (!headers.is_empty()).then(|| headers.into()),
        caller,
    }
}
