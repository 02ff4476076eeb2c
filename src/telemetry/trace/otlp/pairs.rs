//! Lists of `name=value`, as variables have them: percent-encoded, and joined by commas.

/// Why a text is not such a list.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("it is not a list such as \"name=value,other=value\", with percent-encoded values")]
pub(super) struct NotPairs;

/// The pairs of a list, in their order.
pub(super) fn parse(list: &str) -> Result<Vec<(String, String)>, NotPairs> {
    let members = list.split(',').map(str::trim).filter(|member| !member.is_empty());
    members
        .map(|member| {
            let (name, value) = member.split_once('=').ok_or(NotPairs)?;
            let (name, value) = (decode(name.trim())?, decode(value.trim())?);
            if name.is_empty() { Err(NotPairs) } else { Ok((name, value)) }
        })
        .collect()
}

fn decode(text: &str) -> Result<String, NotPairs> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let mut digit = || (rest.next()? as char).to_digit(16);
                let (high, low) = (digit().ok_or(NotPairs)?, digit().ok_or(NotPairs)?);
                u8::try_from(high << 4 | low).map_err(|_| NotPairs)?
            }
            _ => byte,
        });
    }
    String::from_utf8(bytes).map_err(|_| NotPairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read() {
        let pairs = |list| {
            let pairs = parse(list).unwrap();
            pairs.into_iter().map(|(name, value)| format!("{name}:{value}")).collect::<Vec<_>>()
        };
        assert!(pairs("").is_empty());
        assert_eq!(pairs("a=1"), ["a:1"]);
        assert_eq!(pairs(" a = 1 , b=x=y ,"), ["a:1", "b:x=y"]);
        assert_eq!(
            pairs("Authorization=Basic%20YTpi,c=%C3%A9"),
            ["Authorization:Basic YTpi", "c:é"]
        );
        assert_eq!(pairs("a="), ["a:"]);
        for list in ["a", "=1", "a=%2", "a=%zz", "a=%ff"] {
            assert_eq!(parse(list), Err(NotPairs), "{list}");
        }
    }
}
