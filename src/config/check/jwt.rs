//! What verifies tokens: one key, whose algorithm is known.

use crate::config::keys::JwtKeys;
use crate::config::kinds::FilePath;
use crate::config::mistake::{Located, Mistake, Mistakes, Place};
use crate::policy::TokenAlgorithm;

const FILES: [&str; 3] = ["secret_file", "public_key_file", "jwks_file"];

/// Finds what is missing to verify tokens, and what is too much.
pub(super) fn check(keys: &JwtKeys, mistakes: &mut Mistakes) {
    let Some(place) = keys.place else { return };
    let paths = [&keys.secret_file, &keys.public_key_file, &keys.jwks_file];
    let files: Vec<_> = FILES
        .into_iter()
        .zip(paths)
        .filter_map(|(name, path)| Some((name, path.as_ref()?.place)))
        .collect();
    match keys.trusted {
        Some(trusted) if trusted.value => unneeded(keys, &files, trusted.place, mistakes),
        Some(_) | None => needed(keys, &files, place, mistakes),
    }
}

/// Where somebody else has verified a token, nothing verifies it here.
fn unneeded(
    keys: &JwtKeys,
    files: &[(&'static str, Place)],
    trusted: Place,
    mistakes: &mut Mistakes,
) {
    let algorithm = keys.algorithm.map(|algorithm| ("algorithm", algorithm.place));
    for (name, place) in files.iter().copied().chain(algorithm) {
        let text = format!(
            "trusted = true ({trusted}) says that tokens are not verified here; leave one of \
             them out"
        );
        mistakes.add(Mistake::new(place, name, text));
    }
}

fn needed(keys: &JwtKeys, files: &[(&'static str, Place)], place: Place, mistakes: &mut Mistakes) {
    let unread = FILES.iter().chain(&["trusted"]).any(|name| keys.unread.contains(name));
    match files {
        [] if !unread => {
            let text = "a secret_file, a public_key_file or a jwks_file is needed to verify \
                        tokens, or trusted = true if somebody before this proxy has done so";
            mistakes.add(Mistake::new(place, "jwt", text));
        }
        [] => {}
        [_] => algorithm(keys, mistakes),
        [(first, place), others @ ..] => {
            for (name, other) in others {
                let text = format!("{first} ({place}) verifies tokens already; leave one out");
                mistakes.add(Mistake::new(*other, name, text));
            }
        }
    }
}

/// A set of keys says how each of them signs; a single key does not.
fn algorithm(keys: &JwtKeys, mistakes: &mut Mistakes) {
    let mut mistake = |place, key, text: String| mistakes.add(Mistake::new(place, key, text));
    let missing = |file: &Option<Located<FilePath>>| {
        let said = keys.algorithm.is_some() || keys.unread.contains(&"algorithm");
        file.as_ref().map(|file| file.place).filter(|_| !said)
    };
    if let Some(place) = missing(&keys.secret_file) {
        let text = "algorithm is missing: a secret signs by algorithm = \"HS256\"";
        mistake(place, "secret_file", text.into());
    }
    if let Some(place) = missing(&keys.public_key_file) {
        let text = "algorithm is missing: a public key verifies \"RS256\" or \"ES256\"";
        mistake(place, "public_key_file", text.into());
    }
    let Some(algorithm) = keys.algorithm else { return };
    let text = match (algorithm.value, &keys.secret_file, &keys.public_key_file) {
        (_, None, None) => "a set of keys says by itself how each of them signs; leave it out",
        (TokenAlgorithm::Hs256, None, Some(_)) => {
            "\"HS256\" needs a secret_file; a public_key_file verifies \"RS256\" or \"ES256\""
        }
        (TokenAlgorithm::Rs256 | TokenAlgorithm::Es256, Some(_), None) => {
            "a secret_file signs by \"HS256\"; \"RS256\" and \"ES256\" need a public_key_file"
        }
        (TokenAlgorithm::Hs256, Some(_), _)
        | (TokenAlgorithm::Rs256 | TokenAlgorithm::Es256, _, Some(_)) => return,
    };
    mistake(algorithm.place, "algorithm", text.into());
}
