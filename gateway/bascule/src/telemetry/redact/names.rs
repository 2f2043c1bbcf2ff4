//! Which names tell that their value is a secret.
//!
//! Names are compared word by word, so that `token` covers `access_token`, `X-Auth-Token` and
//! `accessToken`, but leaves `max_tokens` readable, which people look for in logs of language models.

use std::collections::HashSet;

/// Words that tell, and whole names.
pub(super) struct Names {
    patterns: Vec<Pattern>,
    exact: HashSet<String>,
}

struct Pattern {
    words: Vec<String>,
    joined: String,
}

impl Names {
    pub(super) fn new<'a>(words_of: &[String], exact: impl Iterator<Item = &'a str>) -> Self {
        let patterns = words_of.iter().map(|name| words(name)).filter(|words| !words.is_empty());
        Self {
            patterns: patterns.map(|words| Pattern { joined: words.concat(), words }).collect(),
            exact: exact.map(str::to_ascii_lowercase).collect(),
        }
    }

    /// Whether what goes by this name is to be hidden.
    pub(super) fn covers(&self, name: &str) -> bool {
        if self.exact.contains(&name.to_ascii_lowercase()) {
            return true;
        }
        let words = words(name);
        let joined = words.concat();
        self.patterns.iter().any(|pattern| {
            pattern.joined == joined
                || words.contains(&pattern.joined)
                || words.windows(pattern.words.len()).any(|run| run == pattern.words)
        })
    }
}

/// Lower-case words: split at anything that is no letter or digit, and before a capital after a small letter.
fn words(name: &str) -> Vec<String> {
    let mut found = vec![String::new()];
    let mut after_small = false;
    for letter in name.chars() {
        let starts_word = letter.is_uppercase() && after_small;
        after_small = letter.is_lowercase() || letter.is_ascii_digit();
        if starts_word || !letter.is_alphanumeric() {
            found.push(String::new());
        }
        if letter.is_alphanumeric()
            && let Some(word) = found.last_mut()
        {
            word.extend(letter.to_lowercase());
        }
    }
    found.retain(|word| !word.is_empty());
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_covered_in_every_spelling_but_not_inside_other_words() {
        let names = Names::new(&["api_key".into(), "token".into()], ["appid"].into_iter());
        for covered in [
            "api_key",
            "API-Key",
            "x-api-key",
            "apiKey",
            "apikey",
            "X-ApiKey",
            "access_token",
            "accessToken",
            "AppID",
        ] {
            assert!(names.covers(covered), "{covered}");
        }
        for shown in ["max_tokens", "key", "api", "tokenizer", "appid2", ""] {
            assert!(!names.covers(shown), "{shown}");
        }
    }
}
