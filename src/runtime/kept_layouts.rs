//! The file `layouts.json`: the layouts that are live, and what was promised about the next.

use super::identity::write_durably;
use super::serve_error::ServeError;
use crate::node::LayoutState;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

/// Written when the first layout changes. From then on `layout.json` is of history.
pub(super) const LAYOUTS_FILE: &str = "layouts.json";

/// Of the file. A promise that a later program has kept in a way that this one does not know must not be forgotten.
const FORMAT: u32 = 1;

/// The file, as it is written.
#[derive(Serialize)]
struct Written<'a> {
    format: u32,
    #[serde(flatten)]
    state: &'a LayoutState,
}

/// What is read first; the file had no number once.
#[derive(Deserialize)]
struct Numbered {
    #[serde(default = "first_format")]
    format: u32,
}

fn first_format() -> u32 {
    FORMAT
}

/// The layouts of this directory; none if its first one has never changed.
pub(super) fn kept_layouts(directory: &Path) -> Result<Option<LayoutState>, ServeError> {
    let path = directory.join(LAYOUTS_FILE);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(ServeError::of_file(&path, &error)),
    };
    let layouts = understood(&text).map_err(|why| ServeError::Refused(format!("{}: {why}", path.display())))?;
    Ok(Some(layouts))
}

/// Makes the layouts durable in place of those before.
pub(super) fn keep_layouts(directory: &Path, layouts: &LayoutState) -> Result<(), ServeError> {
    let text = text_of(layouts).map_err(|error| ServeError::Failed(error.to_string()))?;
    write_durably(directory, LAYOUTS_FILE, text.as_bytes())
}

fn text_of(layouts: &LayoutState) -> serde_json::Result<String> {
    serde_json::to_string(&Written { format: FORMAT, state: layouts })
}

fn understood(text: &str) -> Result<LayoutState, String> {
    let not_layouts = |error| format!("not the layouts of a node: {error}");
    let Numbered { format } = serde_json::from_str(text).map_err(not_layouts)?;
    if format != FORMAT {
        return Err(format!("format {format}; this program knows format {FORMAT}: a later one has written it"));
    }
    serde_json::from_str(text).map_err(not_layouts)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Kept as it was first written: every later program reads it.
    const GOLDEN: &str = include_str!("../../tests/golden/layouts-1.json");

    #[test]
    fn a_file_of_format_1_says_what_it_said() {
        let state = understood(GOLDEN).unwrap();
        let versions: Vec<u64> = state.versions().iter().map(|layout| layout.version).collect();
        assert_eq!(versions, [1, 2]);
        assert!(serde_json::to_string(&state).unwrap().contains("\"pauses\":1"));
        assert_eq!(text_of(&state).unwrap(), GOLDEN.trim_end());
        let unnumbered = GOLDEN.replacen("\"format\":1,", "", 1);
        assert_eq!(understood(&unnumbered), Ok(state));
    }

    #[test]
    fn a_later_format_is_told_from_nonsense() {
        let later = GOLDEN.replacen("\"format\":1", "\"format\":2", 1);
        assert!(understood(&later).unwrap_err().contains("format 2; this program knows format 1"));
        assert!(understood("{}").unwrap_err().contains("not the layouts of a node"));
    }
}
