//! What an instance was told to do: from what was written to what is used.
//!
//! A file, variables and flags are read into [`Written`], key by key, each with its place; a flag
//! goes before its variable, a variable before the file, and the file before the default. From that
//! [`Given::load`] makes the [`Settings`]. Neither stops at a mistake: all are found at once.

mod check;
mod choice;
mod files;
mod found;
mod keys;
mod kinds;
mod mistake;
mod places;
mod resolve;
mod routes;
mod schema;
mod section;
mod setting;
mod settings;
mod store;
mod table;
mod tls;
mod units;
mod warnings;
mod words;
mod written;

use std::path::PathBuf;

pub use self::choice::{ClientCertificate, InFlight, LogLevel};
pub use self::files::Files;
pub use self::found::{Found, Source};
pub use self::keys::{
    GuardKeys, JwtKeys, LimitKeys, RouteKeys, StoreKeys, StoreTlsKeys, TelemetryKeys, TlsKeys,
    TopKeys, UpstreamKeys, UpstreamTlsKeys,
};
pub use self::kinds::{FilePath, RouteName, Words};
pub use self::mistake::{Located, Mistake, Mistakes, Place};
pub use self::places::{AdminAddress, ServerName, StoreUrl};
pub use self::schema::schema;
pub use self::section::{Entry, KeyInfo, Section, SectionInfo};
pub use self::setting::{Choice, Form, List, Setting, Several, TextSetting, Wrong};
pub use self::settings::{
    AdminAccess, Limits, LogSettings, Settings, StoreKind, StoreSettings, UpstreamSettings,
};
pub use self::table::Table;
pub use self::units::{Bytes, UnitError, parse_bytes, parse_duration};
pub use self::written::{Written, WrittenRoute};
use crate::idempotency::Secret;

/// What an instance was given to be told by.
#[derive(Clone, Debug)]
pub struct Given {
    /// The config file, if there is one.
    pub file: Option<PathBuf>,
    /// What flags and variables say, which goes before what the file says.
    pub flags: Written,
}

impl Given {
    /// Reads all of it, and says which files that took. Where no file has a secret, it is the one
    /// that is given.
    ///
    /// # Errors
    ///
    /// All mistakes at once, each with its place.
    pub fn load(&self, secret: &Secret) -> (Result<Settings, Mistakes>, Files) {
        let mut files = Files::beside(self.file.as_deref());
        let loaded = self.load_from(&mut files, secret);
        (loaded, files)
    }

    /// Reads how an instance that was given the same is looked after. Other mistakes do not count.
    ///
    /// # Errors
    ///
    /// The mistakes in what says that.
    pub fn admin(&self) -> Result<AdminAccess, Mistakes> {
        let mut files = Files::beside(self.file.as_deref());
        let (written, _) = self.written(&mut files)?;
        let mut mistakes = Mistakes::default();
        let access = resolve::admin_access(&written.top, &mut files, &mut mistakes);
        if mistakes.is_empty() { Ok(access) } else { Err(mistakes) }
    }

    fn written(&self, files: &mut Files) -> Result<(Written, Mistakes), Mistakes> {
        let Some(path) = &self.file else { return Ok((self.flags.clone(), Mistakes::default())) };
        let text = files.read_config(path)?;
        let (file, mistakes) = Written::parse(&text, &path.to_string_lossy());
        Ok((self.flags.clone().over(file), mistakes))
    }

    fn load_from(&self, files: &mut Files, secret: &Secret) -> Result<Settings, Mistakes> {
        let (written, mut mistakes) = self.written(files)?;
        check::check(&written, &mut mistakes);
        let settings = resolve::resolve(&written, secret, files, &mut mistakes);
        settings.filter(|_| mistakes.is_empty()).ok_or(mistakes)
    }
}
