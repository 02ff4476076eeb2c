//! Connections to the servers.

use std::time::Duration;

use redis::aio::{AsyncPushSender, MultiplexedConnection};
use redis::cluster::ClusterClientBuilder;
use redis::cluster_async::ClusterConnection;
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, Client, ClientTlsConfig, Cmd, ConnectionAddr, ConnectionInfo,
    IntoConnectionInfo as _, Pipeline, ProtocolVersion, PushInfo, RedisConnectionInfo, RedisResult,
    TlsCertificates, Value,
};
use socket2::TcpKeepalive;

use super::checks;
use super::options::{Login, RedisOptions, RedisTls};
use super::sentinel;
use super::trouble::Trouble;
use super::url::{Node, Security, Topology};

/// How long one connection may take to be there.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// How long nothing is said on a connection before it's seen whether it is still there.
const KEEPALIVE: Duration = Duration::from_mins(1);

/// Between two attempts to see that.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// How many calls may wait to be written to a connection; further ones wait for room.
const QUEUE: usize = 1024;

/// How often a cluster's client follows a record that moves.
const CLUSTER_RETRIES: u32 = 3;

/// A connection that many calls share.
#[derive(Clone)]
pub(super) enum Link {
    /// To one server.
    Node(MultiplexedConnection),
    /// To all nodes of a cluster.
    Cluster(ClusterConnection),
}

impl Link {
    pub(super) async fn ask(&mut self, command: &Cmd) -> RedisResult<Value> {
        match self {
            Self::Node(node) => command.query_async(node).await,
            Self::Cluster(cluster) => command.query_async(cluster).await,
        }
    }

    /// Asks several things at once, each of which may fail by itself.
    pub(super) async fn ask_all(&mut self, commands: &mut Pipeline) -> RedisResult<Vec<Value>> {
        let commands = commands.ignore_errors();
        match self {
            Self::Node(node) => commands.query_async(node).await,
            Self::Cluster(cluster) => commands.query_async(cluster).await,
        }
    }

    pub(super) async fn subscribe(&mut self, channel: &str) -> RedisResult<()> {
        match self {
            Self::Node(node) => node.subscribe(channel).await,
            Self::Cluster(cluster) => cluster.subscribe(channel).await,
        }
    }
}

/// The connections of a session.
pub(super) struct Links {
    pub(super) common: Vec<Link>,
    /// For claims that wait for replicas.
    pub(super) waiting: Vec<Link>,
    /// Where they lead, if it is one server.
    pub(super) server: Option<Server>,
}

/// A server, where it was found, and what its process is called, if it says so.
#[derive(Clone)]
pub(super) struct Server {
    client: Client,
    process: Option<String>,
}

impl Server {
    /// Connects, and finds out whom there is.
    async fn find(client: Client, pushes: impl AsyncPushSender) -> Result<(Self, Link), Trouble> {
        let mut link = connect(&client, pushes).await?;
        let process = checks::process(&mut link).await?;
        Ok((Self { client, process }, link))
    }

    /// Connects once more, on the runtime on which it's called; what the server says unasked goes
    /// to `pushes`, and that the connection is lost. The address may lead to another by now, and
    /// records must not be on two.
    pub(super) async fn connect(&self, pushes: impl AsyncPushSender) -> Result<Link, Trouble> {
        let (found, link) = Self::find(self.client.clone(), pushes).await?;
        match found.process == self.process {
            true => Ok(link),
            false => Err(Trouble::Unreachable("another server is at its address".into())),
        }
    }

    /// Whether it can be told from others.
    pub(super) fn has_name(&self) -> bool {
        self.process.is_some()
    }
}

async fn connect(client: &Client, pushes: impl AsyncPushSender) -> Result<Link, Trouble> {
    let config = config().set_push_sender(pushes);
    Ok(Link::Node(client.get_multiplexed_async_connection_with_config(&config).await?))
}

/// Connects; what the servers say unasked goes to `pushes`.
pub(super) async fn open(
    options: &RedisOptions,
    pushes: impl AsyncPushSender + Clone,
) -> Result<Links, Trouble> {
    let client = match find(options).await? {
        Place::Server(client) => *client,
        Place::Cluster(nodes) => {
            let link = open_cluster(options, nodes, pushes).await?;
            return Ok(Links { common: vec![link], waiting: Vec::new(), server: None });
        }
    };
    let (server, first) = Server::find(client, pushes.clone()).await?;
    let (mut common, mut waiting) = (vec![first], Vec::new());
    let count = options.url.replicas.map_or(0, |_| options.connections);
    for (links, count) in [(&mut common, options.connections), (&mut waiting, count)] {
        while links.len() < count {
            links.push(server.connect(pushes.clone()).await?);
        }
    }
    Ok(Links { common, waiting, server: Some(server) })
}

/// Connects once more, for what must not be in the way of the others.
pub(super) async fn open_one(options: &RedisOptions) -> Result<Link, Trouble> {
    match find(options).await? {
        Place::Server(client) => {
            let config = config();
            let node = client.get_multiplexed_async_connection_with_config(&config).await?;
            Ok(Link::Node(node))
        }
        Place::Cluster(nodes) => open_cluster(options, nodes, |_: PushInfo| Ok::<(), ()>(())).await,
    }
}

/// Where records are.
enum Place<'a> {
    Server(Box<Client>),
    Cluster(&'a [Node]),
}

/// Finds out where records are at the moment.
async fn find(options: &RedisOptions) -> Result<Place<'_>, Trouble> {
    let info = match &options.url.topology {
        Topology::Single(node) => info(node, options),
        Topology::Unix(path) => dress(ConnectionAddr::Unix(path.clone()), options),
        Topology::Sentinel { sentinels, primary } => {
            info(&sentinel::resolve(options, sentinels, primary).await?, options)
        }
        Topology::Cluster(nodes) => return Ok(Place::Cluster(nodes)),
    };
    Ok(Place::Server(client(info?, options.url.security, &options.tls)?.into()))
}

/// How connections to single servers behave. Calls have deadlines of their own.
pub(super) fn config() -> AsyncConnectionConfig {
    AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT_TIMEOUT))
        .set_response_timeout(None)
        .set_pipeline_buffer_size(QUEUE)
}

pub(super) fn client(
    info: ConnectionInfo,
    security: Security,
    tls: &RedisTls,
) -> Result<Client, Trouble> {
    let client = match security {
        Security::Plain => Client::open(info),
        Security::Tls => Client::build_with_tls(info, certificates(tls)),
    };
    client.map_err(|error| Trouble::tls(&error))
}

/// Where a node is, and who asks it.
fn info(node: &Node, options: &RedisOptions) -> Result<ConnectionInfo, Trouble> {
    dress(address(node, options.url.security)?, options)
}

pub(super) fn address(node: &Node, security: Security) -> Result<ConnectionAddr, Trouble> {
    match security {
        Security::Plain => Ok(ConnectionAddr::Tcp(node.host.clone(), node.port)),
        // Only a URL makes such an address.
        Security::Tls => {
            let info = format!("rediss://{node}").into_connection_info()?;
            Ok(info.addr().clone())
        }
    }
}

fn dress(address: ConnectionAddr, options: &RedisOptions) -> Result<ConnectionInfo, Trouble> {
    let mut settings =
        login(options.user(), options.password().map(super::options::Password::reveal));
    settings = settings.set_db(options.url.database.into());
    settings = settings.set_protocol(ProtocolVersion::RESP3);
    plain(address, settings)
}

/// Who asks a Sentinel.
pub(super) fn sentinel_info(
    node: &Node,
    security: Security,
    who: Option<&Login>,
) -> Result<ConnectionInfo, Trouble> {
    let user = who.and_then(|who| who.user.as_deref());
    plain(address(node, security)?, login(user, who.map(|who| who.password.reveal())))
}

fn plain(
    address: ConnectionAddr,
    settings: RedisConnectionInfo,
) -> Result<ConnectionInfo, Trouble> {
    let info = address.into_connection_info()?.set_redis_settings(settings.set_skip_set_lib_name());
    Ok(info.set_tcp_settings(tcp()))
}

/// What is between may forget a connection on which nothing is said, and tell nobody.
fn tcp() -> TcpSettings {
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE_INTERVAL);
    TcpSettings::default().set_nodelay(true).set_keepalive(keepalive)
}

fn login(user: Option<&str>, password: Option<&str>) -> RedisConnectionInfo {
    let mut settings = RedisConnectionInfo::default();
    if let Some(user) = user {
        settings = settings.set_username(user);
    }
    if let Some(password) = password {
        settings = settings.set_password(password);
    }
    settings
}

async fn open_cluster(
    options: &RedisOptions,
    nodes: &[Node],
    pushes: impl AsyncPushSender,
) -> Result<Link, Trouble> {
    let nodes: Vec<_> = nodes.iter().map(|node| info(node, options)).collect::<Result<_, _>>()?;
    let mut builder = ClusterClientBuilder::new(nodes)
        .use_protocol(ProtocolVersion::RESP3)
        .push_sender(pushes)
        .tcp_settings(tcp())
        .retries(CLUSTER_RETRIES)
        .connection_timeout(CONNECT_TIMEOUT)
        .response_timeout(CONNECT_TIMEOUT);
    if options.url.security == Security::Tls {
        builder = builder.certs(certificates(&options.tls));
    }
    let client = builder.build().map_err(|error| Trouble::tls(&error))?;
    Ok(Link::Cluster(client.get_async_connection().await?))
}

fn certificates(tls: &RedisTls) -> TlsCertificates {
    let identity = tls.identity.as_ref();
    let client_tls = identity.map(|identity| ClientTlsConfig {
        client_cert: identity.certificate.clone(),
        client_key: identity.key.clone(),
    });
    TlsCertificates { client_tls, root_cert: tls.ca.clone() }
}
