//! The format that Prometheus has always read, out of what `OpenMetrics` has made of it.
//!
//! Samples are the same; what is said of them differs: a counter is described by the name that its
//! samples have, units are not told, and there is no mark at the end.

/// The same metrics in the text format of Prometheus, version 0.0.4.
pub(super) fn from_open_metrics(text: &str) -> String {
    let mut classic = String::with_capacity(text.len());
    let mut help = None;
    for line in text.lines() {
        if let Some(described) = line.strip_prefix("# HELP ") {
            help = Some(described);
        } else if let Some(described) = line.strip_prefix("# TYPE ") {
            let (name, kind) = described.split_once(' ').unwrap_or((described, "untyped"));
            let (suffix, kind) = match kind {
                "counter" => ("_total", kind),
                "info" => ("_info", "gauge"),
                _ => ("", kind),
            };
            if let Some((name, help)) = help.take().and_then(|help| help.split_once(' ')) {
                push(&mut classic, &["# HELP ", name, suffix, " ", help]);
            }
            push(&mut classic, &["# TYPE ", name, suffix, " ", kind]);
        } else if !line.starts_with('#') {
            push(&mut classic, &[line]);
        }
    }
    classic
}

fn push(text: &mut String, pieces: &[&str]) {
    text.extend(pieces.iter().copied().chain(["\n"]));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_described_by_the_name_of_its_samples() {
        let open = "# HELP a Some a's\n# TYPE a counter\na_total 1\n\
                    # HELP b What\n# TYPE b info\nb_info{v=\"1\"} 1\n\
                    # HELP c_seconds Time\n# TYPE c_seconds gauge\n# UNIT c_seconds seconds\n\
                    c_seconds 2.0\n# EOF\n";
        let classic = "# HELP a_total Some a's\n# TYPE a_total counter\na_total 1\n\
                       # HELP b_info What\n# TYPE b_info gauge\nb_info{v=\"1\"} 1\n\
                       # HELP c_seconds Time\n# TYPE c_seconds gauge\nc_seconds 2.0\n";
        assert_eq!(from_open_metrics(open), classic);
    }
}
