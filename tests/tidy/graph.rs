//! The graph of imports between files, and its circles. Files in a circle cannot be read, moved or
//! tested one after the other.

use super::paths::{Path, child, paths};
use super::source::Source;
use super::style::Finding;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The module of a file of the crate in a folder; none for the programs below `src`, which are crates
/// of their own.
pub(crate) fn module_of(folder: &str, path: &str) -> Option<Vec<String>> {
    let path = path.strip_prefix(folder)?.strip_prefix('/')?.strip_suffix(".rs")?;
    if path.starts_with("bin/") {
        return None;
    }
    let path = path.strip_suffix("/mod").unwrap_or(path);
    Some(if ["lib", "main"].contains(&path) {
        Vec::new()
    } else {
        path.split('/').map(str::to_string).collect()
    })
}

/// Files and whom each of them imports from.
pub(crate) struct Graph {
    imports: BTreeMap<String, BTreeSet<String>>,
}

impl Graph {
    /// Of the production code of the crate whose files these are.
    pub(crate) fn of(folder: &str, files: &[(String, Source)]) -> Graph {
        let mut by_module: BTreeMap<Vec<String>, &(String, Source)> =
            files.iter().filter_map(|file| Some((module_of(folder, &file.0)?, file))).collect();
        let of_tests: Vec<Vec<String>> = by_module
            .iter()
            .flat_map(|(module, (_, source))| source.test_modules.iter().map(|name| child(module, name)))
            .collect();
        by_module.retain(|module, _| !of_tests.iter().any(|tests| module.starts_with(tests)));
        let modules: BTreeSet<Vec<String>> = by_module.keys().cloned().collect();
        let file_of = |path: &Path| {
            let known = (0..=path.segments.len()).rev().find_map(|n| by_module.get(&path.segments[..n]));
            known.map(|(file, _)| file.clone())
        };
        let imports = by_module.iter().map(|(module, (file, source))| {
            let paths = paths(module, &source.production, &modules);
            let targets = paths.iter().filter(|path| !path.is_visibility).filter_map(file_of);
            (file.clone(), targets.filter(|target| target != file).collect())
        });
        Graph { imports: imports.collect() }
    }

    /// The shortest way from a file back to itself, with the file at both ends.
    fn circle(&self, file: &str) -> Option<Vec<&str>> {
        let (start, imports) = self.imports.get_key_value(file)?;
        let mut came_from: BTreeMap<&str, &str> =
            imports.iter().map(|to| (to.as_str(), start.as_str())).collect();
        let mut next: VecDeque<&str> = imports.iter().map(String::as_str).collect();
        while let Some(at) = next.pop_front() {
            if at == start {
                let mut way = vec![at];
                while way.len() == 1 || *way.last().expect("it has begun") != start {
                    way.push(came_from[way.last().expect("it has begun")]);
                }
                way.reverse();
                return Some(way);
            }
            for to in self.imports.get(at).into_iter().flatten() {
                came_from.entry(to).or_insert_with(|| {
                    next.push_back(to);
                    at
                });
            }
        }
        None
    }
}

/// Files that import, by way of others, from themselves.
pub(crate) fn circles(graph: &Graph) -> Vec<Finding> {
    let files = graph.imports.keys();
    let circles = files.filter_map(|file| Some((file, graph.circle(file)?)));
    circles
        .map(|(file, way)| Finding::new(file, format!("{file}: in a circle: {}", way.join(" → "))))
        .collect()
}

// ---- Shown to fire ----

#[cfg(test)]
fn circles_of(files: &[(&str, &str)]) -> Vec<String> {
    let files: Vec<_> = files.iter().map(|(path, text)| (path.to_string(), Source::of(text))).collect();
    circles(&Graph::of("src", &files)).into_iter().map(|finding| finding.complaint).collect()
}

#[test]
fn a_circle_is_found_and_printed() {
    let two = [("src/a/mod.rs", "mod b; pub use b::B;"), ("src/a/b.rs", "use super::A;")];
    assert_eq!(
        circles_of(&two),
        [
            "src/a/b.rs: in a circle: src/a/b.rs → src/a/mod.rs → src/a/b.rs",
            "src/a/mod.rs: in a circle: src/a/mod.rs → src/a/b.rs → src/a/mod.rs"
        ]
    );
    let three = [
        ("src/lib.rs", "pub mod a; pub mod b; pub mod c; pub mod d;"),
        ("src/a.rs", "use crate::{b::{self, B}, d};"),
        ("src/b.rs", "fn f() { crate::c::g() }"),
        ("src/c.rs", "fn g() -> super::a::A { a() }"),
        ("src/d.rs", "fn alone() {}"),
    ];
    let found = circles_of(&three);
    assert_eq!(found.len(), 3, "{found:?}");
    assert_eq!(found[0], "src/a.rs: in a circle: src/a.rs → src/b.rs → src/c.rs → src/a.rs");
}

#[test]
fn what_is_no_circle_is_not_found() {
    for files in [
        // A declaration imports nothing.
        [("src/a/mod.rs", "mod b;"), ("src/a/b.rs", "use super::A;")],
        // Nor does a test, in this file or another.
        [
            ("src/a/mod.rs", "mod b; use b::B; #[cfg(test)] mod c { }"),
            ("src/a/b.rs", "#[cfg(test)] mod tests { use super::super::A; }"),
        ],
        [
            ("src/a/mod.rs", "#[cfg(test)] mod tests; struct A;"),
            ("src/a/tests.rs", "use super::A; use super::tests::x;"),
        ],
        // Nor who may see something.
        [("src/a/mod.rs", "mod b; use b::B;"), ("src/a/b.rs", "pub(in crate::a) struct B;")],
        // A program is no part of the library.
        [("src/a/mod.rs", "struct A;"), ("src/bin/x.rs", "use crate::A; use serf::a::A;")],
    ] {
        assert_eq!(circles_of(&files), Vec::<String>::new(), "{files:?}");
    }
}
