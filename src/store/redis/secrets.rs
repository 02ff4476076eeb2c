//! What must not be told on, whatever a server says.

use super::options::{RedisOpenError, RedisOptions};
use super::trouble::Trouble;

/// The most characters of what a server says that are told on.
const WORDS_MAX: usize = 512;

/// How much of a secret is known by, since servers cut what they repeat.
const BEGINNING: usize = 6;

/// What follows is what was sent, which may be a password.
const REPEATS: [&str; 2] = [", with args", ", args"];

/// What is told instead of words with a secret in them.
const HIDDEN: &str = "what the server says has a password in it, and is not shown";

/// How the passwords begin.
pub(super) struct Secrets(Vec<String>);

impl Secrets {
    pub(super) fn new(options: &RedisOptions) -> Self {
        let sentinel = options.sentinel_login.as_ref().map(|login| &login.password);
        let passwords = [options.password(), options.url.password.as_ref(), sentinel];
        let beginning = |password: &str| visible(password).take(BEGINNING).collect::<String>();
        let known = passwords.into_iter().flatten().map(|password| beginning(password.reveal()));
        Self(known.filter(|beginning| !beginning.is_empty()).collect())
    }

    /// What a server says, without what it repeats of what it was told.
    pub(super) fn hide(&self, words: &str) -> String {
        let end = REPEATS.iter().filter_map(|repeats| words.find(repeats)).min();
        let words: String =
            visible(words.get(..end.unwrap_or(words.len())).unwrap_or("")).collect();
        if self.0.iter().any(|beginning| words.contains(beginning)) {
            return HIDDEN.to_owned();
        }
        words.chars().take(WORDS_MAX).collect()
    }

    pub(super) fn hide_in(&self, trouble: Trouble) -> Trouble {
        let error = match trouble {
            Trouble::Unreachable(words) => return Trouble::Unreachable(self.hide(&words)),
            Trouble::Wrong(error) => error,
        };
        Trouble::Wrong(match error {
            RedisOpenError::Tls(words) => RedisOpenError::Tls(self.hide(&words)),
            RedisOpenError::Version(words) => RedisOpenError::Version(self.hide(&words)),
            RedisOpenError::Eviction(words) => RedisOpenError::Eviction(self.hide(&words)),
            RedisOpenError::Login(words) => RedisOpenError::Login(self.hide(&words)),
            RedisOpenError::Permission(words) => RedisOpenError::Permission(self.hide(&words)),
            error @ (RedisOpenError::Namespace
            | RedisOpenError::Zero(_)
            | RedisOpenError::Replica
            | RedisOpenError::Topology(_)
            | RedisOpenError::Thread(_)) => error,
        })
    }
}

fn visible(text: &str) -> impl Iterator<Item = char> {
    text.chars().filter(|c| !c.is_control())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::redis::options::{Login, Password};

    #[test]
    fn words_with_a_password_in_them_are_not_told() {
        let login = |password: &str| Login { user: None, password: Password::new(password.into()) };
        let options = RedisOptions {
            login: Some(login("s3cret\tpass")),
            sentinel_login: Some(login("abc")),
            ..RedisOptions::default()
        };
        let secrets = Secrets::new(&options);
        let said = "ERR unknown command 'HELLO', with args beginning with: '3' 's3cret pass'";
        assert_eq!(secrets.hide(said), "ERR unknown command 'HELLO'");
        for said in ["ERR what is s3cretpass", "ERR 's3cretp", "ERR abc", "ERR s3cret\r\npass"] {
            assert_eq!(secrets.hide(said), HIDDEN, "{said}");
            let wrong = secrets.hide_in(Trouble::Wrong(RedisOpenError::Login(said.to_owned())));
            assert!(wrong.reason().contains(HIDDEN), "{wrong:?}");
        }
        assert_eq!(secrets.hide("ERR\r\n no"), "ERR no");
        assert_eq!(secrets.hide(&"x".repeat(9999)).len(), WORDS_MAX);
        assert_eq!(Secrets::new(&RedisOptions::default()).hide("s3cret"), "s3cret");
    }
}
