//! Reads Rust and Markdown well enough for the rules of `tests/tidy.rs`.
//!
//! Knows comments, literals and brackets, and no further grammar: enough for code that rustfmt has laid out, and
//! free of dependencies.

use std::iter;
use std::ops::Range;

/// One file of Rust, seen three ways. A place is a byte offset and the same in all of them.
pub(crate) struct Source {
    /// From the repository's root, with `/`.
    pub(crate) path: String,
    /// As it is on disk.
    pub(crate) text: String,
    /// With comments and literals blanked.
    pub(crate) code: String,
    /// `code` with the items under `#[cfg(test)]` blanked too.
    pub(crate) shipped: String,
    /// How many lines those items have.
    pub(crate) test_lines: usize,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let code = without_prose(text);
        let mut shipped = code.clone();
        let mut test_lines = 0;
        let is_test_file = path.ends_with("/tests.rs") || path.contains("/tests/");
        let items = if is_test_file { iter::once(0..code.len()).collect() } else { test_items(&code) };
        for item in items {
            test_lines += code[item.clone()].lines().count();
            shipped.replace_range(item.clone(), &blank(&code[item]));
        }
        Self { path: path.into(), text: text.into(), code, shipped, test_lines }
    }

    /// The module of `src/` this file belongs to; none for the roots of a crate and for other crates.
    pub(crate) fn module(&self) -> Option<&str> {
        let inside = self.path.strip_prefix("src/")?;
        let module = inside.split('/').next()?.trim_end_matches(".rs");
        (module != "lib" && module != "main").then_some(module)
    }

    /// What is wrong at this place.
    pub(crate) fn finding(&self, at: usize, message: &str) -> String {
        format!("{}:{}: {message}", self.path, line_of(&self.text, at))
    }
}

/// Is this place of the code under `#[cfg(test)]`?
pub(crate) fn in_test_item(source: &Source, at: usize) -> bool {
    source.code[at..].chars().next() != source.shipped[at..].chars().next()
}

fn line_of(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

/// As many bytes and lines, nothing in them.
fn blank(text: &str) -> String {
    text.bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' }).collect()
}

fn in_identifier(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

pub(crate) fn identifier(text: &str) -> &str {
    text.split(|c| !in_identifier(c)).next().unwrap_or_default()
}

/// Where `word` stands in `text`, not as a part of a longer identifier.
pub(crate) fn words<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let clings = |a: Option<char>, b: Option<char>| a.is_some_and(in_identifier) && b.is_some_and(in_identifier);
    text.match_indices(word).map(|(at, _)| at).filter(move |at| {
        let before = text[..*at].chars().next_back();
        let after = text[at + word.len()..].chars().next();
        !clings(before, word.chars().next()) && !clings(word.chars().next_back(), after)
    })
}

/// What follows `root::`, one entry for each branch of a group: `std::{fmt, fs::File}` gives `fmt` and `fs`.
pub(crate) fn segments_after(code: &str, root: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for at in words(code, root) {
        let Some(rest) = code[at + root.len()..].trim_start().strip_prefix("::") else { continue };
        let rest = rest.trim_start();
        match (rest.starts_with('{'), matching_end(rest)) {
            (true, Some(end)) => found.extend(branches(&rest[1..end - 1]).into_iter().map(|segment| (at, segment))),
            _ if rest.starts_with('*') => found.push((at, "*".into())),
            _ => found.push((at, identifier(rest).into())),
        }
    }
    found
}

/// The first segment of each top-level branch of a `use` group.
fn branches(group: &str) -> Vec<String> {
    let mut depth = 0;
    let split_here = |c: char| {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        c == ',' && depth == 0
    };
    group.split(split_here).map(|branch| identifier(branch.trim_start()).to_owned()).filter(|s| !s.is_empty()).collect()
}

/// Where the bracket that `text` begins with is closed: the place behind its partner.
fn matching_end(text: &str) -> Option<usize> {
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        match c {
            '{' | '(' | '[' => depth += 1,
            '}' | ')' | ']' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(at + c.len_utf8());
        }
    }
    None
}

/// Where each function begins: at its `fn`. Function pointers have no name and are none.
pub(crate) fn functions(code: &str) -> impl Iterator<Item = usize> + '_ {
    words(code, "fn").filter(|at| !identifier(code[at + 2..].trim_start()).is_empty())
}

pub(crate) fn is_public(code: &str, function_at: usize) -> bool {
    let line_start = code[..function_at].rfind('\n').map_or(0, |newline| newline + 1);
    words(&code[line_start..function_at], "pub").next().is_some()
}

/// The text between the parentheses of the function that begins here.
pub(crate) fn parameters_of(code: &str, function_at: usize) -> Option<&str> {
    let (mut angles, mut previous) = (0, ' ');
    for (at, c) in code[function_at..].char_indices() {
        match c {
            '<' => angles += 1,
            '>' if previous != '-' => angles -= 1,
            '(' if angles == 0 => {
                let list = &code[function_at + at..];
                return list.get(1..matching_end(list)? - 1);
            }
            _ => {}
        }
        previous = c;
    }
    None
}

/// Where the item that begins here ends: behind its braces or its semicolon.
pub(crate) fn item_end(code: &str, item_at: usize) -> usize {
    let mut depth = 0;
    for (at, c) in code[item_at..].char_indices() {
        let here = item_at + at;
        match c {
            '{' if depth == 0 => return matching_end(&code[here..]).map_or(code.len(), |length| here + length),
            ';' if depth == 0 => return here + 1,
            ')' | ']' | '}' if depth == 0 => return here,
            '(' | '[' => depth += 1,
            ')' | ']' => depth -= 1,
            _ => {}
        }
    }
    code.len()
}

/// The items under `#[cfg(test)]`, attribute included.
fn test_items(code: &str) -> Vec<Range<usize>> {
    const ATTRIBUTE: &str = "#[cfg(test)]";
    let mut items: Vec<Range<usize>> = Vec::new();
    for (start, _) in code.match_indices(ATTRIBUTE) {
        if items.last().is_some_and(|last| start < last.end) {
            continue;
        }
        items.push(start..item_end(code, start + ATTRIBUTE.len()));
    }
    items
}

/// The text with every comment and literal blanked, line for line.
fn without_prose(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut code = String::with_capacity(text.len());
    let mut at = 0;
    while let Some(c) = chars.get(at) {
        match prose_end(&chars, at) {
            Some(end) => {
                code.push_str(&blank(&chars.iter().take(end).skip(at).collect::<String>()));
                at = end;
            }
            None => {
                code.push(*c);
                at += 1;
            }
        }
    }
    code
}

/// Where the comment or literal that begins at `at` ends; none if none begins there.
fn prose_end(chars: &[char], at: usize) -> Option<usize> {
    let next = chars.get(at + 1).copied();
    match chars.get(at)? {
        '/' if next == Some('/') => Some(position_from(chars, at, '\n')),
        '/' if next == Some('*') => Some(block_comment_end(chars, at)),
        '"' => Some(quoted_end(chars, at + 1, '"')),
        '\'' if next == Some('\\') || chars.get(at + 2) == Some(&'\'') => Some(quoted_end(chars, at + 1, '\'')),
        'r' if begins_token(chars, at) => raw_string_end(chars, at + 1),
        _ => None,
    }
}

/// Is this `r` the start of a token, a prefix `b` or `c` aside?
fn begins_token(chars: &[char], at: usize) -> bool {
    let before = |back: usize| at.checked_sub(back).and_then(|place| chars.get(place)).copied();
    match before(1) {
        Some('b' | 'c') => !before(2).is_some_and(in_identifier),
        other => !other.is_some_and(in_identifier),
    }
}

fn position_from(chars: &[char], from: usize, wanted: char) -> usize {
    chars.iter().skip(from).position(|c| *c == wanted).map_or(chars.len(), |found| from + found)
}

fn block_comment_end(chars: &[char], start: usize) -> usize {
    let (mut at, mut depth) = (start, 0);
    while at < chars.len() {
        match (chars.get(at), chars.get(at + 1)) {
            (Some('/'), Some('*')) => (depth, at) = (depth + 1, at + 2),
            (Some('*'), Some('/')) => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    chars.len()
}

fn quoted_end(chars: &[char], from: usize, quote: char) -> usize {
    let mut at = from;
    while let Some(c) = chars.get(at) {
        match *c {
            '\\' => at += 2,
            c if c == quote => return at + 1,
            _ => at += 1,
        }
    }
    chars.len()
}

/// The end of `#"..."#` with any number of hashes; none for a raw identifier.
fn raw_string_end(chars: &[char], from: usize) -> Option<usize> {
    let hashes = chars.iter().skip(from).take_while(|c| **c == '#').count();
    if chars.get(from + hashes) != Some(&'"') {
        return None;
    }
    let mut at = from + hashes + 1;
    while at < chars.len() {
        at = position_from(chars, at, '"') + 1;
        if chars.iter().skip(at).take(hashes).filter(|c| **c == '#').count() == hashes {
            return Some(at + hashes);
        }
    }
    Some(chars.len())
}

#[test]
fn comments_and_literals_are_blanked_and_code_is_not() {
    let blanked = |text: &str| without_prose(text).split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(blanked("a // x\nb /* x /* y */ z */ c"), "a b c");
    assert_eq!(blanked(r##"a "x \" y" b r#"x " y"# c br"\" d"##), "a b c b d");
    assert_eq!(blanked(r"a '{' b '\'' c &'static str"), "a b c &'static str");
    assert_eq!(blanked("for r#type in rows"), "for r#type in rows");
    assert_eq!(without_prose("/*\n\n*/ a").matches('\n').count(), 2);
}

// ---------------------------------------------------------------------------------------------------------------------
// Reading Markdown

/// Numbered lines outside fenced code.
pub(crate) fn prose_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    let numbered = text.lines().enumerate().map(|(index, line)| (index + 1, line));
    numbered.filter(move |(_, line)| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    })
}

/// The targets of `[text](target)` and `[name]: target` outside code spans.
pub(crate) fn link_targets(line: &str) -> Vec<&str> {
    let definition = line.starts_with('[').then(|| line.split_once("]: ")).flatten().map(|(_, target)| target);
    let outside_code = line.split('`').step_by(2);
    let inline = outside_code.flat_map(|part| part.split("](").skip(1).filter_map(|rest| rest.split(')').next()));
    definition.into_iter().chain(inline).filter_map(|target| target.split_whitespace().next()).collect()
}
