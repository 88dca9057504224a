//! `dunlin dev` as tests use it.

use dunlin::client::{Answer, Client, Method, Request};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A cluster of real nodes, ended with the value.
pub(crate) struct Cluster {
    dev: Child,
    /// Where the nodes listen, the first one first.
    pub(crate) urls: Vec<String>,
    runtime: tokio::runtime::Runtime,
    client: Client,
}

impl Cluster {
    /// Starts so many nodes, with what `arguments` adds, and waits until all are ready: every partition has been
    /// compared with the others'.
    pub(crate) fn start(nodes: usize, arguments: impl FnOnce(&mut Command)) -> Cluster {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dunlin"));
        command.args(["dev", "--nodes", &nodes.to_string(), "--http-port", "0"]);
        arguments(&mut command);
        let mut dev = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut ready = String::new();
        BufReader::new(dev.stdout.take().unwrap()).read_line(&mut ready).unwrap();
        let urls: Vec<String> = ready.split_whitespace().skip(1).map(str::to_owned).collect();
        assert_eq!(urls.len(), nodes, "{ready}");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let cluster = Cluster { dev, client: Client::new(urls.clone()).unwrap(), urls, runtime };
        cluster.urls.iter().for_each(|url| cluster.wait_until_ready(url));
        cluster
    }

    /// Sends a request to one of the nodes.
    pub(crate) fn send(&self, request: Request) -> Answer {
        self.runtime.block_on(self.client.send(request)).unwrap()
    }

    /// Writes a value.
    pub(crate) fn put(&self, key: &[u8], value: &[u8]) {
        assert!(self.send(Request::put(key, value.to_vec())).status.is_success());
    }

    fn wait_until_ready(&self, url: &str) {
        let client = Client::new(vec![url.to_owned()]).unwrap();
        let ready = async {
            while client.send(Request::raw(Method::GET, "/readyz")).await.unwrap().status != 200 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        self.runtime.block_on(ready);
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // It ends its nodes when it is asked to, not when it is killed.
        let _ = Command::new("kill").args(["-TERM", &self.dev.id().to_string()]).status();
        let _ = self.dev.wait();
    }
}
