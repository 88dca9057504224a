//! What to try with a cluster that has just become ready.

use super::directory::DevNode;

/// Commands to paste, for this cluster.
pub(super) fn try_next(nodes: &[DevNode]) -> String {
    let (Some(first), Some(last)) = (nodes.first(), nodes.last()) else { return String::new() };
    let (one, other, count) = (first.url(), last.url(), nodes.len());
    let (name, directory, file) = (&last.name, last.directory.display(), last.file());
    let file = file.display();
    // Started by cargo, it is not where a shell looks for it.
    let dunlin = std::env::current_exe().map_or_else(|_| "dunlin".into(), |path| path.display().to_string());
    format!(
        "\
{count} nodes, each a process of its own. Ctrl-C stops them all. Try next:

  # write through one node, read through another, delete
  curl -i -X PUT {one}/kv/greeting -d 'hello'
  curl -i {other}/kv/greeting
  curl -i -X DELETE {one}/kv/greeting

  # overwrite exactly what was read: hand its context back
  curl -s -X PUT {one}/kv/tea -d 'green'
  context=$(curl -sI {one}/kv/tea | tr -d '\\r' | awk 'tolower($1) == \"dunlin-context:\" {{print $2}}')
  curl -i -X PUT {one}/kv/tea -H \"Dunlin-Context: $context\" -d 'black'

  # a second writer who had seen the same: nothing is lost, both values are siblings (409)
  curl -i -X PUT {other}/kv/tea -H \"Dunlin-Context: $context\" -d 'white'
  curl -i {one}/kv/tea
  curl -s -H 'Accept: application/vnd.dunlin.siblings+json' {one}/kv/tea
  # the context of that answer covers both: a write that hands it back resolves them

  # kill a node: everything goes on; start it again: it catches up
  kill -9 $(cat {directory}/pid)
  {dunlin} serve --config {file}        # {name}
"
    )
}
