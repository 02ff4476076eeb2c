//! Where spans go, as the usual variables of OpenTelemetry say (`OTEL_…`).
//!
//! What can't be understood is told of and does not count: a proxy must not stay down for the sake
//! of its traces.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Uri};

use super::pairs::parse;
use crate::telemetry::trace::{Roots, Sampler};

/// The longest time that a batch may take, or that a span may wait.
const TIME_MAX: Duration = Duration::from_secs(3600);

/// The most spans that may wait, whatever is asked for.
const SPANS_MAX: usize = 1 << 20;

/// Where spans go, and which.
#[derive(Clone, PartialEq)]
pub struct OtlpOptions {
    /// The URL that batches are posted to.
    pub url: Uri,
    /// What they are posted with besides.
    pub headers: HeaderMap,
    /// The authorities that the collector's certificate may be signed by; none: those that the
    /// system trusts.
    pub ca_file: Option<PathBuf>,
    /// The longest time that a batch may take, further tries included.
    pub timeout: Duration,
    /// What is said of this instance.
    pub resource: Vec<(String, String)>,
    /// Which traces are recorded.
    pub sampler: Sampler,
    /// How many spans go at a time, and how soon.
    pub rates: Rates,
}

/// How many spans go at a time, and how soon.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Rates {
    /// The longest time that a span waits until its batch is full.
    pub delay: Duration,
    /// The most spans that wait.
    pub spans_max: usize,
    /// The most spans of a batch.
    pub batch_max: usize,
}

impl Default for Rates {
    fn default() -> Self {
        Self { delay: Duration::from_secs(5), spans_max: 2048, batch_max: 512 }
    }
}

impl fmt::Debug for OtlpOptions {
    /// Without the headers, which may be credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("OtlpOptions");
        shown.field("url", &self.url).field("sampler", &self.sampler).finish_non_exhaustive()
    }
}

/// The variables, and what is to be told of them.
struct Variables<'a> {
    value: &'a dyn Fn(&str) -> Option<String>,
    warnings: Vec<String>,
}

/// What the variables say that `value` knows, and what is to be told of them. Without the URL of a
/// collector, nothing is recorded.
pub fn read(value: &dyn Fn(&str) -> Option<String>) -> (Option<OtlpOptions>, Vec<String>) {
    let mut variables = Variables { value, warnings: Vec::new() };
    let options = variables.options();
    (options, variables.warnings)
}

impl Variables<'_> {
    fn options(&mut self) -> Option<OtlpOptions> {
        if self.get("OTEL_SDK_DISABLED").is_some_and(|text| text.eq_ignore_ascii_case("true")) {
            return None;
        }
        let url = self.url()?;
        match self.get("OTEL_TRACES_EXPORTER").as_deref() {
            None | Some("otlp") => {}
            Some("none") => return None,
            Some(_) => {
                let text = "is neither \"otlp\" nor \"none\"; nothing is exported";
                self.warn("OTEL_TRACES_EXPORTER", text);
                return None;
            }
        }
        for (name, known) in [("PROTOCOL", "http/protobuf"), ("COMPRESSION", "none")] {
            if let Some((name, _)) = self.of_traces(name).filter(|(_, text)| text != known) {
                self.warn(name, &format!("only {known:?} is supported, and used"));
            }
        }
        Some(OtlpOptions {
            url,
            headers: self.headers(),
            ca_file: self.of_traces("CERTIFICATE").map(|(_, text)| text.into()),
            timeout: self.timeout(),
            resource: self.resource(),
            sampler: self.sampler(),
            rates: self.rates(),
        })
    }

    /// A variable that is set, and not empty.
    fn get(&self, name: &str) -> Option<String> {
        (self.value)(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
    }

    /// One of the exporter's that may be set for traces alone, and the name that it is set by.
    fn of_traces(&self, name: &str) -> Option<(String, String)> {
        ["OTEL_EXPORTER_OTLP_TRACES_", "OTEL_EXPORTER_OTLP_"].iter().find_map(|prefix| {
            let name = format!("{prefix}{name}");
            self.get(&name).map(|text| (name, text))
        })
    }

    fn warn(&mut self, name: impl fmt::Display, text: &str) {
        self.warnings.push(format!("{name}: {text}"));
    }

    fn url(&mut self) -> Option<Uri> {
        let (name, text) = self.of_traces("ENDPOINT")?;
        let text = match name.as_str() {
            // Signals have paths below that of all.
            "OTEL_EXPORTER_OTLP_ENDPOINT" => format!("{}/v1/traces", text.trim_end_matches('/')),
            _ => text,
        };
        let url: Option<Uri> = text.parse().ok();
        let is_http = |url: &Uri| matches!(url.scheme_str(), Some("http" | "https"));
        let url = url.filter(|url| is_http(url) && url.authority().is_some());
        if url.is_none() {
            // Not what it says: there may be a password in it.
            self.warn(name, "is not a URL such as http://127.0.0.1:4318; nothing is exported");
        }
        url
    }

    fn headers(&mut self) -> HeaderMap {
        let Some((name, text)) = self.of_traces("HEADERS") else { return HeaderMap::new() };
        let parsed = parse(&text).ok().and_then(|pairs| {
            let fields = pairs.into_iter().map(|(name, value)| {
                let mut value = HeaderValue::try_from(value).ok()?;
                value.set_sensitive(true);
                Some((HeaderName::try_from(name).ok()?, value))
            });
            fields.collect::<Option<HeaderMap>>()
        });
        if parsed.is_none() {
            self.warn(name, "is not a list such as \"name=value,other=value\", and does not count");
        }
        parsed.unwrap_or_default()
    }

    fn timeout(&mut self) -> Duration {
        let default = Duration::from_secs(10);
        let Some((name, _)) = self.of_traces("TIMEOUT") else { return default };
        self.millis(&name, default)
    }

    fn resource(&mut self) -> Vec<(String, String)> {
        const NAME: &str = "OTEL_RESOURCE_ATTRIBUTES";
        let given = parse(&self.get(NAME).unwrap_or_default());
        if let Err(error) = &given {
            self.warn(NAME, &format!("{error}, and does not count"));
        }
        let version = env!("CARGO_PKG_VERSION");
        let own = [
            ("service.name", "oncegate"),
            ("service.version", version),
            ("telemetry.sdk.language", "rust"),
            ("telemetry.sdk.name", "oncegate"),
            ("telemetry.sdk.version", version),
        ];
        let mut all = own.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let service = self.get("OTEL_SERVICE_NAME").map(|value| ("service.name".to_owned(), value));
        for (name, value) in given.unwrap_or_default().into_iter().chain(service) {
            match all.iter_mut().find(|(other, _)| *other == name) {
                Some((_, other)) => *other = value,
                None => all.push((name, value)),
            }
        }
        all
    }

    fn sampler(&mut self) -> Sampler {
        const NAME: &str = "OTEL_TRACES_SAMPLER";
        let Some(text) = self.get(NAME) else { return Sampler::default() };
        let (follows_parent, roots) = match text.strip_prefix("parentbased_") {
            Some(roots) => (true, roots),
            None => (false, text.as_str()),
        };
        let roots = match roots {
            "always_on" => Roots::All,
            "always_off" => Roots::None,
            "traceidratio" => self.part(),
            _ => {
                self.warn(NAME, "is not known, and \"parentbased_always_on\" holds");
                return Sampler::default();
            }
        };
        Sampler { roots, follows_parent }
    }

    fn part(&mut self) -> Roots {
        const NAME: &str = "OTEL_TRACES_SAMPLER_ARG";
        let Some(text) = self.get(NAME) else { return Roots::All };
        match text.parse() {
            Ok(part) if (0.0..=1.0).contains(&part) => Roots::Part(part),
            _ => {
                self.warn(NAME, "is not a number from 0 to 1, and 1 holds");
                Roots::All
            }
        }
    }

    fn rates(&mut self) -> Rates {
        let Rates { delay, spans_max, batch_max } = Rates::default();
        let spans_max = self.count("OTEL_BSP_MAX_QUEUE_SIZE", spans_max);
        Rates {
            delay: self.millis("OTEL_BSP_SCHEDULE_DELAY", delay),
            spans_max,
            batch_max: self.count("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", batch_max).min(spans_max),
        }
    }

    fn millis(&mut self, name: &str, default: Duration) -> Duration {
        let millis = self.whole(name).map(Duration::from_millis);
        millis.map_or(default, |time| time.clamp(Duration::from_millis(1), TIME_MAX))
    }

    fn count(&mut self, name: &str, default: usize) -> usize {
        let count = self.whole(name).map(|count| usize::try_from(count).unwrap_or(SPANS_MAX));
        count.map_or(default, |count| count.clamp(1, SPANS_MAX))
    }

    fn whole(&mut self, name: &str) -> Option<u64> {
        let number = self.get(name)?.parse().ok();
        if number.is_none() {
            self.warn(name, "is not a whole number, and does not count");
        }
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(variables: &[(&str, &str)]) -> (Option<OtlpOptions>, Vec<String>) {
        read(&|name: &str| {
            let found = variables.iter().find(|(other, _)| *other == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    /// What the variables say besides the place of a collector.
    fn options(variables: &[(&str, &str)]) -> OtlpOptions {
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318");
        let (options, warnings) = read_all(&[&[endpoint], variables].concat());
        assert_eq!(warnings, Vec::<String>::new());
        options.unwrap()
    }

    const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
    const TRACES: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";

    #[test]
    fn without_an_endpoint_nothing_is_exported() {
        let off: [&[(&str, &str)]; 7] = [
            &[],
            &[(ENDPOINT, "")],
            &[("OTEL_TRACES_EXPORTER", "otlp")],
            &[(ENDPOINT, "http://c"), ("OTEL_TRACES_EXPORTER", "none")],
            &[(ENDPOINT, "http://c"), ("OTEL_SDK_DISABLED", "true")],
            &[(TRACES, "http://c"), ("OTEL_SDK_DISABLED", "TRUE")],
            &[("OTEL_SERVICE_NAME", "x"), ("OTEL_TRACES_SAMPLER", "always_on")],
        ];
        for variables in off {
            assert_eq!(read_all(variables), (None, Vec::new()), "{variables:?}");
        }
    }

    #[test]
    fn an_endpoint_is_one_for_all_signals_or_for_traces() {
        for (variables, expected) in [
            (&[(ENDPOINT, "http://c:4318")][..], "http://c:4318/v1/traces"),
            (&[(ENDPOINT, "https://c/otlp/")], "https://c/otlp/v1/traces"),
            (&[(TRACES, "http://c:4318/in?a=b")], "http://c:4318/in?a=b"),
            (&[(TRACES, "http://c"), (ENDPOINT, "http://other")], "http://c/"),
        ] {
            let (options, warnings) = read_all(variables);
            assert_eq!(options.unwrap().url, expected);
            assert!(warnings.is_empty());
        }
    }

    #[test]
    fn all_has_a_default() {
        let options = options(&[]);
        assert_eq!(options.timeout, Duration::from_secs(10));
        assert_eq!(options.rates, Rates::default());
        assert_eq!(options.sampler, Sampler::default());
        assert!(options.headers.is_empty() && options.ca_file.is_none());
        assert_eq!(options.resource[0], ("service.name".into(), "oncegate".into()));
    }

    #[test]
    fn what_is_for_traces_goes_first() {
        let options = options(&[
            ("OTEL_EXPORTER_OTLP_HEADERS", "a=1"),
            ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "Authorization=Basic%20c2VjcmV0"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "5000"),
            ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "250"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/ca.pem"),
        ]);
        assert_eq!(options.timeout, Duration::from_millis(250));
        assert_eq!(options.headers.len(), 1);
        assert_eq!(options.headers["authorization"], "Basic c2VjcmV0");
        assert_eq!(options.ca_file, Some("/ca.pem".into()));
        assert!(!format!("{options:?}").contains("c2Vj"));
    }

    #[test]
    fn a_resource_says_what_it_is_told_to() {
        let options = options(&[
            ("OTEL_RESOURCE_ATTRIBUTES", "service.name=a,deployment.environment.name=x%2Cy"),
            ("OTEL_SERVICE_NAME", "payments"),
        ]);
        let of = |name: &str| options.resource.iter().find(|(other, _)| other == name).unwrap();
        assert_eq!(of("service.name").1, "payments");
        assert_eq!(of("deployment.environment.name").1, "x,y");
    }

    #[test]
    fn samplers_have_the_usual_names() {
        let sampler = |name, part| {
            options(&[("OTEL_TRACES_SAMPLER", name), ("OTEL_TRACES_SAMPLER_ARG", part)]).sampler
        };
        for (name, follows_parent, roots) in [
            ("always_on", false, Roots::All),
            ("always_off", false, Roots::None),
            ("traceidratio", false, Roots::Part(0.25)),
            ("parentbased_always_on", true, Roots::All),
            ("parentbased_always_off", true, Roots::None),
            ("parentbased_traceidratio", true, Roots::Part(0.25)),
        ] {
            assert_eq!(sampler(name, "0.25"), Sampler { roots, follows_parent }, "{name}");
        }
    }

    #[test]
    fn what_is_not_understood_is_told_of_and_does_not_count() {
        for (name, value, exports) in [
            (TRACES, "collector:4318", false),
            (TRACES, "ftp://c", false),
            ("OTEL_TRACES_EXPORTER", "zipkin", false),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", true),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip", true),
            ("OTEL_EXPORTER_OTLP_HEADERS", "s3cret", true),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a b=s3cret", true),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s", true),
            ("OTEL_RESOURCE_ATTRIBUTES", "a", true),
            ("OTEL_TRACES_SAMPLER", "jaeger_remote", true),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "-1", true),
        ] {
            let (options, warnings) = read_all(&[(name, value), (ENDPOINT, "http://c")]);
            assert_eq!(options.is_some(), exports, "{name}");
            assert!(
                matches!(&warnings[..], [warning] if warning.starts_with(name)),
                "{warnings:?}"
            );
            assert!(!warnings[0].contains("s3cret"));
        }
        let (_, warnings) =
            read_all(&[("OTEL_TRACES_SAMPLER", "traceidratio"), (ENDPOINT, "http://c")]);
        assert!(warnings.is_empty());
    }
}
