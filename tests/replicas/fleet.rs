//! Instances on one Redis, before one API.

use crate::server::Server;
use crate::support::{Client, Folder, Origin, Proxy, Request, client};

/// A Redis, an API, and instances between.
pub struct Fleet {
    /// The Redis, if it is the fleet's own.
    redis: Option<Server>,
    url: String,
    pub origin: Origin,
    pub replicas: Vec<Proxy>,
    args: Vec<(&'static str, &'static str)>,
    folder: Folder,
}

/// Whether campaigns are of the size whose figures are published.
pub fn is_large() -> bool {
    std::env::var("ONCEGATE_REPLICAS").is_ok_and(|size| size == "large")
}

/// One of two numbers, for a campaign that is large or not.
pub fn sized<T>(small: T, large: T) -> T {
    if is_large() { large } else { small }
}

impl Fleet {
    /// So many instances, each told this besides.
    pub async fn start(count: usize, args: &[(&'static str, &'static str)]) -> Self {
        let redis = Server::start(&[]);
        let url = format!("redis+unix://{}", redis.socket().display());
        Self::with(Some(redis), &url, count, args).await
    }

    /// So many instances on the Redis at a URL.
    pub async fn on(url: &str, count: usize, args: &[(&'static str, &'static str)]) -> Self {
        Self::with(None, url, count, args).await
    }

    async fn with(
        redis: Option<Server>,
        url: &str,
        count: usize,
        args: &[(&'static str, &'static str)],
    ) -> Self {
        let folder = Folder::new();
        folder.write("secret", "the secret that all replicas of this test share");
        let mut fleet = Self {
            redis,
            url: url.to_owned(),
            origin: Origin::start().await,
            replicas: Vec::new(),
            args: args.to_vec(),
            folder,
        };
        for _ in 0..count {
            let replica = fleet.another().await;
            fleet.replicas.push(replica);
        }
        fleet
    }

    /// Its own Redis.
    pub fn redis(&self) -> &Server {
        self.redis.as_ref().expect("the Redis is the fleet's own")
    }

    /// One more instance.
    pub async fn another(&self) -> Proxy {
        let secret = self.folder.path("secret");
        let mut starting = Proxy::before(&self.origin)
            .arg("--store", &self.url)
            .arg("--store-secret-file", secret.to_str().unwrap())
            .arg("--workers", "1");
        for (flag, value) in &self.args {
            starting = starting.arg(flag, value);
        }
        starting.start().await
    }

    /// A client of one instance; numbers go round.
    pub fn client(&self, number: usize) -> Client {
        client(&self.replicas[number % self.replicas.len()])
    }

    /// The request of an operation, to one instance.
    pub fn charge(&self, number: usize, name: &str) -> Request {
        charge(&self.client(number), name)
    }
}

/// The request of an operation.
pub fn charge(client: &Client, name: &str) -> Request {
    client.post("/charges").key(name).body(format!("{{\"op\":\"{name}\"}}"))
}
