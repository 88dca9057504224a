//! What is written from the table: the example file, the reference page, the files of new nodes.

use super::{KNOBS, Knob, SECTIONS};
use std::fmt::Write;

/// Width of the comments in the example file.
const LINE_CHARACTERS: usize = 118;

/// `configs/node.toml`: every knob with its default, what it is, what is allowed, when to change it.
pub fn example_file() -> String {
    let mut file = String::from(
        "# Every setting of a Dunlin node, at its default. A real file holds only what differs; `dunlin cluster init`\n\
         # writes one for each node. Each setting is also a flag, --section-key, and a variable, DUNLIN_SECTION_KEY:\n\
         # a flag wins over a variable, that over this file. Relative paths are relative to this file's directory.\n\
         # Written from src/runtime/settings/table.rs; docs/configuration.md is the same as a page.\n",
    );
    for (section, about) in SECTIONS {
        file.push_str(&format!("\n#{about}\n[{section}]\n"));
        for knob in of_section(section) {
            for paragraph in [knob.doc.trim().into(), format!("Allowed: {}.", knob.allowed()), change(knob)] {
                comment(&mut file, &paragraph);
            }
            file.push_str(&format!("{} = {}\n\n", knob.key, knob.default_literal()));
        }
        file.pop();
    }
    file
}

/// `docs/configuration.md`: the same as a page.
pub fn reference_page() -> String {
    let mut page = String::from(
        "# Configuration\n\n\
         `dunlin serve --config FILE` reads one TOML file. Every setting is also a flag and a variable of the environment:\n\n\
         | in the file | flag | variable |\n|---|---|---|\n\
         | `[node]` `data_dir = \"/srv/dunlin\"` | `--node-data-dir /srv/dunlin` | `DUNLIN_NODE_DATA_DIR=/srv/dunlin` |\n\n\
         A flag wins over a variable, a variable over the file, the file over the default. Lists are written with commas in\n\
         flags and variables. Durations are `500ms`, `2s`, `10m`, `1h` or a bare number of milliseconds; sizes are `64KiB`,\n\
         `1MiB`, `2GiB` or a bare number of bytes. Relative paths in the file are relative to the file's directory, those in\n\
         flags and variables to the working directory.\n\n\
         A node refuses to start (exit status 2) with a section or setting it does not know, with a value that is not\n\
         allowed, or with values that do not fit together. It names file, line and column, and what is allowed, for\n\
         everything it finds wrong. Variables that look like settings and are none are warned about.\n\n\
         This page is written from the same table as the program and [configs/node.toml](../configs/node.toml).\n\
         After changing the table: `DUNLIN_BLESS=1 cargo test --test configs`.\n",
    );
    for (section, about) in SECTIONS {
        page.push_str(&format!("\n## [{section}]\n\n{}\n\n", about.trim()));
        page.push_str("| setting | default | allowed | what it is, and when to change it |\n|---|---|---|---|\n");
        for knob in of_section(section) {
            let (key, default, doc) = (knob.key, knob.default_literal(), knob.doc.trim());
            let row = format!("| `{key}` | `{default}` | {} | {doc} *{}* |\n", knob.allowed(), change(knob));
            page.push_str(&row);
        }
    }
    page
}

/// A file that sets only these knobs, given as `(section.key, value as in a flag)`. Names that are no
/// knob are left out.
pub fn file_with(heading: &str, given: &[(&str, String)]) -> String {
    let mut file = String::new();
    heading.lines().for_each(|line| file.push_str(&format!("# {line}\n")));
    for (section, _) in SECTIONS {
        let lines: Vec<String> = of_section(section)
            .filter_map(|knob| given.iter().find(|(name, _)| *name == knob.name()).map(|(_, value)| (knob, value)))
            .map(|(knob, value)| format!("{} = {}\n", knob.key, knob.literal(value)))
            .collect();
        if !lines.is_empty() {
            // Writing to a String cannot fail.
            let _ = write!(file, "\n[{section}]\n{}", lines.concat());
        }
    }
    file
}

fn of_section<'a>(section: &'a str) -> impl Iterator<Item = &'static Knob> + 'a {
    KNOBS.iter().filter(move |knob| knob.section == section)
}

fn change(knob: &Knob) -> String {
    format!("Change: {}", knob.change)
}

fn comment(file: &mut String, paragraph: &str) {
    let mut line = String::from("#");
    for word in paragraph.split_whitespace() {
        if line.chars().count() + 1 + word.chars().count() > LINE_CHARACTERS {
            file.push_str(&line);
            file.push_str("\n#");
            line.clear();
        }
        line.push(' ');
        line.push_str(word);
    }
    file.push_str(&line);
    file.push('\n');
}
