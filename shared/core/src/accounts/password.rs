//! Passwords and their hashes: argon2id (RFC 9106) in PHC strings, the pepper as argon2's own secret.

use std::{
    fmt,
    str::FromStr,
    sync::{Mutex, PoisonError},
};

use phc::{Output, ParamsString, PasswordHash, Salt};
use subtle::ConstantTimeEq as _;
use unicode_normalization::UnicodeNormalization as _;

use crate::{
    keyring::{KeyId, Keyring},
    random::{Random, RandomUnavailable},
    secret::Secret,
};

/// A password as it is hashed: NFC (NIST SP 800-63B 3.1.1.2), whole, no folding, no truncation.
#[derive(Debug, Clone)]
pub struct Password(Secret<String>);

/// Longer than [`Password::MAX_BYTES`], or empty. Decided before anything is hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a password has 1 to {} bytes", Password::MAX_BYTES)]
pub struct InvalidPassword;

impl Password {
    pub const MAX_BYTES: usize = 1024;

    /// # Errors
    /// [`InvalidPassword`].
    pub fn new(text: &str) -> Result<Self, InvalidPassword> {
        if text.is_empty() || text.len() > Self::MAX_BYTES {
            return Err(InvalidPassword);
        }
        Ok(Self(Secret::new(text.nfc().collect())))
    }

    fn bytes(&self) -> &[u8] {
        self.0.expose().as_bytes()
    }
}

/// The cost of a hash. argon2id, version 19; one lane, since a function has one processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HashParameters {
    /// KiB.
    pub memory: u32,
    /// Passes.
    pub iterations: u32,
    pub lanes: u32,
}

impl HashParameters {
    /// OWASP's and ASVS 5.0's floor for two passes (appendix C).
    pub const DEFAULT: Self = Self { memory: 19_456, iterations: 2, lanes: 1 };

    /// What a stored hash may ask for at most: an imported one must not take the function down.
    const CAP: Self = Self { memory: 262_144, iterations: 16, lanes: 4 };

    fn within_cap(&self) -> bool {
        self.memory <= Self::CAP.memory
            && self.iterations <= Self::CAP.iterations
            && self.lanes <= Self::CAP.lanes
    }

    /// Whether these cost an attacker less than `other`.
    fn weaker_than(&self, other: &Self) -> bool {
        self.memory < other.memory || self.iterations < other.iterations
    }

    /// Blocks that are filled: what the time of a hash grows with.
    fn work(&self) -> u64 {
        u64::from(self.memory) * u64::from(self.iterations)
    }

    /// What has to be computed after a hash of these parameters, so that both together take as long as one of `today`.
    /// `None` when nothing, or too little for argon2, is missing.
    fn short_of(&self, today: &Self) -> Option<Self> {
        let missing = today.work().saturating_sub(self.work());
        let iterations = missing.div_ceil(u64::from(today.memory.max(1))).max(1);
        let memory =
            u32::try_from(missing / iterations).ok().filter(|memory| *memory >= Self::LEAST_MEMORY)?;
        Some(Self { memory, iterations: u32::try_from(iterations).ok()?, lanes: 1 })
    }

    /// RFC 9106 3.1: eight blocks a lane.
    const LEAST_MEMORY: u32 = 8;
}

impl Default for HashParameters {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// A hash as it is stored: a PHC string whose `keyid` names the pepper.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredHash(String);

impl StoredHash {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Which pepper it needs.
    pub fn pepper(&self) -> Option<KeyId> {
        Parsed::read(&self.0).ok()?.pepper
    }
}

impl FromStr for StoredHash {
    type Err = PasswordError;

    fn from_str(text: &str) -> Result<Self, PasswordError> {
        Parsed::read(text)?;
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for StoredHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    #[error("the stored hash does not read as argon2id: {0}")]
    Malformed(String),
    #[error("the stored hash asks for more than this service pays: {0:?}")]
    TooCostly(HashParameters),
    #[error("the pepper {0} of the stored hash is not in the keyring")]
    PepperMissing(KeyId),
    #[error("argon2 failed: {0}")]
    Failed(String),
    #[error(transparent)]
    Random(#[from] RandomUnavailable),
}

/// The outcome of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verification {
    Match,
    /// It matches, and the hash is weaker than today's parameters or peppered with a key that is no longer current.
    MatchOutdated,
    Mismatch,
}

struct Parsed {
    parameters: HashParameters,
    pepper: Option<KeyId>,
    salt: Salt,
    output: Output,
}

impl Parsed {
    fn read(text: &str) -> Result<Self, PasswordError> {
        let malformed = |problem: &str| PasswordError::Malformed(problem.to_owned());
        let hash = PasswordHash::new(text).map_err(|error| malformed(&error.to_string()))?;
        if hash.algorithm.as_str() != "argon2id" || hash.version != Some(19) {
            return Err(malformed("not argon2id, version 19"));
        }
        let parameter = |name| hash.params.get_decimal(name).ok_or_else(|| malformed(name));
        let parameters =
            HashParameters { memory: parameter("m")?, iterations: parameter("t")?, lanes: parameter("p")? };
        if !parameters.within_cap() {
            return Err(PasswordError::TooCostly(parameters));
        }
        let pepper = match hash.params.get("keyid") {
            None => None,
            Some(value) => {
                let mut buffer = [0; 8];
                let bytes = value.b64_decode(&mut buffer).map_err(|_| malformed("keyid"))?;
                let bytes = <[u8; 2]>::try_from(bytes).map_err(|_| malformed("keyid"))?;
                Some(KeyId(u16::from_be_bytes(bytes)))
            }
        };
        Ok(Self {
            parameters,
            pepper,
            salt: hash.salt.ok_or_else(|| malformed("salt"))?,
            output: hash.hash.ok_or_else(|| malformed("hash"))?,
        })
    }
}

/// What a tag is computed of.
struct Hash<'a> {
    password: &'a Password,
    salt: &'a [u8],
    secret: &'a [u8],
    parameters: HashParameters,
}

/// Hashes and checks passwords with one set of parameters, reusing its memory from hash to hash.
///
/// 19 MiB that are allocated per hash fault in 2,200 pages and fragment the heap until a small function dies of it;
/// here each concurrent hash takes a workspace from the pool and gives it back wiped.
pub struct PasswordHasher {
    parameters: HashParameters,
    workspaces: Mutex<Vec<engine::Workspace>>,
    #[cfg(test)]
    blocks_filled: std::sync::atomic::AtomicU64,
}

impl PasswordHasher {
    pub fn new(parameters: HashParameters) -> Self {
        Self {
            parameters,
            workspaces: Mutex::new(Vec::new()),
            #[cfg(test)]
            blocks_filled: std::sync::atomic::AtomicU64::new(0),
        }
    }

    pub fn parameters(&self) -> HashParameters {
        self.parameters
    }

    /// Allocates and touches the memory of the first hash, so that no caller waits for it.
    pub fn warm_up(&self) {
        let workspace = engine::Workspace::touched(&self.parameters);
        self.give_back(workspace);
    }

    /// Hashes a new password with the current pepper.
    ///
    /// # Errors
    /// [`PasswordError::Random`], [`PasswordError::Failed`].
    pub fn hash(
        &self,
        password: &Password,
        keyring: &Keyring,
        random: &dyn Random,
    ) -> Result<StoredHash, PasswordError> {
        let failed = |problem: &dyn fmt::Display| PasswordError::Failed(problem.to_string());
        let salt = random.bytes::<16>()?;
        let pepper = keyring.pepper();
        let tag = self.compute(password, &salt, pepper.key.expose())?;
        let mut params = ParamsString::new();
        params.add_decimal("m", self.parameters.memory).map_err(|error| failed(&error))?;
        params.add_decimal("t", self.parameters.iterations).map_err(|error| failed(&error))?;
        params.add_decimal("p", self.parameters.lanes).map_err(|error| failed(&error))?;
        params.add_b64_bytes("keyid", &pepper.id.0.to_be_bytes()).map_err(|error| failed(&error))?;
        let hash = PasswordHash {
            algorithm: phc::Ident::new("argon2id").map_err(|error| failed(&error))?,
            version: Some(19),
            params,
            salt: Some(Salt::new(&salt).map_err(|error| failed(&error))?),
            hash: Some(Output::new(&tag).map_err(|error| failed(&error))?),
        };
        Ok(StoredHash(hash.to_string()))
    }

    /// Checks a password against a stored hash: the work of one hash of today's parameters, whatever the outcome.
    ///
    /// Where the stored hash is cheaper, the rest is computed for nothing: else a wrong password to an account that has
    /// not signed in since the parameters were raised would be refused sooner than one to an account that does not exist.
    /// A stored hash that is dearer than today's can't be hidden.
    ///
    /// # Errors
    /// [`PasswordError`] when the stored hash can't be checked.
    pub fn verify(
        &self,
        password: &Password,
        stored: &StoredHash,
        keyring: &Keyring,
    ) -> Result<Verification, PasswordError> {
        let parsed = Parsed::read(stored.as_str())?;
        let pepper = match parsed.pepper {
            None => None,
            Some(id) => Some(keyring.pepper_by_id(id).ok_or(PasswordError::PepperMissing(id))?),
        };
        let secret = pepper.map_or(&[][..], |pepper| pepper.key.expose().as_slice());
        let expected = parsed.output.as_bytes();
        let mut hash = Hash { password, salt: parsed.salt.as_ref(), secret, parameters: parsed.parameters };
        let tag = self.with_workspace(|workspace| {
            let tag = self.fill(workspace, &hash, expected.len())?;
            if let Some(rest) = parsed.parameters.short_of(&self.parameters) {
                hash.parameters = rest;
                self.fill(workspace, &hash, expected.len())?;
            }
            Ok(tag)
        })?;
        if !bool::from(tag.as_slice().ct_eq(expected)) {
            return Ok(Verification::Mismatch);
        }
        let outdated =
            parsed.parameters.weaker_than(&self.parameters) || parsed.pepper != Some(keyring.pepper().id);
        Ok(if outdated { Verification::MatchOutdated } else { Verification::Match })
    }

    /// The work of a check for an account that has no password, or does not exist.
    ///
    /// # Errors
    /// As [`PasswordHasher::verify`].
    pub fn verify_nothing(&self, password: &Password, keyring: &Keyring) -> Result<(), PasswordError> {
        self.compute(password, &[0; 16], keyring.pepper().key.expose()).map(drop)
    }

    /// A hash of today's parameters.
    fn compute(&self, password: &Password, salt: &[u8], secret: &[u8]) -> Result<Vec<u8>, PasswordError> {
        let hash = Hash { password, salt, secret, parameters: self.parameters };
        self.with_workspace(|workspace| self.fill(workspace, &hash, 32))
    }

    /// Lends a workspace and wipes it once, however often it was filled: wiping takes time, too.
    fn with_workspace<T>(
        &self,
        work: impl FnOnce(&mut engine::Workspace) -> Result<T, PasswordError>,
    ) -> Result<T, PasswordError> {
        let mut workspace = self.take();
        let outcome = work(&mut workspace);
        workspace.wipe();
        self.give_back(workspace);
        outcome
    }

    #[cfg_attr(not(test), expect(clippy::unused_self, reason = "the tests count here"))]
    fn fill(
        &self,
        workspace: &mut engine::Workspace,
        hash: &Hash<'_>,
        length: usize,
    ) -> Result<Vec<u8>, PasswordError> {
        #[cfg(test)]
        self.blocks_filled.fetch_add(hash.parameters.work(), std::sync::atomic::Ordering::Relaxed);
        let mut tag = vec![0; length];
        workspace
            .argon2id(hash.password.bytes(), hash.salt, hash.secret, &hash.parameters, &mut tag)
            .map_err(PasswordError::Failed)?;
        Ok(tag)
    }

    fn take(&self) -> engine::Workspace {
        self.workspaces.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    fn give_back(&self, workspace: engine::Workspace) {
        self.workspaces.lock().unwrap_or_else(PoisonError::into_inner).push(workspace);
    }
}

impl fmt::Debug for PasswordHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PasswordHasher").field("parameters", &self.parameters).finish_non_exhaustive()
    }
}

/// RustCrypto's argon2: the default.
#[cfg_attr(feature = "simd-argon2", allow(dead_code, reason = "the differential test runs both engines"))]
mod portable {
    use argon2::{Algorithm, Argon2, Block, ParamsBuilder, Version};

    use super::HashParameters;

    #[derive(Default)]
    pub(super) struct Workspace(Vec<Block>);

    impl Workspace {
        pub(super) fn touched(parameters: &HashParameters) -> Self {
            let mut workspace = Self(vec![Block::new(); block_count(parameters)]);
            // A zeroed allocation is not backed by memory until it is written to.
            workspace.wipe();
            workspace
        }

        pub(super) fn argon2id(
            &mut self,
            password: &[u8],
            salt: &[u8],
            secret: &[u8],
            parameters: &HashParameters,
            tag: &mut [u8],
        ) -> Result<(), String> {
            let params = ParamsBuilder::new()
                .m_cost(parameters.memory)
                .t_cost(parameters.iterations)
                .p_cost(parameters.lanes)
                .output_len(tag.len())
                .build()
                .map_err(|error| error.to_string())?;
            let argon2 = Argon2::new_with_secret(secret, Algorithm::Argon2id, Version::V0x13, params)
                .map_err(|error| error.to_string())?;
            let blocks = block_count(parameters);
            if self.0.len() < blocks {
                self.0.resize(blocks, Block::new());
            }
            let memory = self.0.get_mut(..blocks).ok_or("workspace too small")?;
            argon2
                .hash_password_into_with_memory(password, salt, tag, memory)
                .map_err(|error| error.to_string())
        }

        pub(super) fn wipe(&mut self) {
            self.0.fill(Block::new());
            std::hint::black_box(&mut self.0);
        }
    }

    /// RFC 9106 3.2: memory in whole multiples of four blocks a lane.
    fn block_count(parameters: &HashParameters) -> usize {
        let quantum = parameters.lanes.saturating_mul(4).max(1);
        usize::try_from((parameters.memory / quantum).saturating_mul(quantum)).unwrap_or(usize::MAX)
    }
}

#[cfg(not(feature = "simd-argon2"))]
use portable as engine;

/// `argon2-rust`: dispatches to AVX2 or AVX-512 at run time. Opt-in.
#[cfg(feature = "simd-argon2")]
mod engine {
    use argon2_rust::{
        Algorithm, Argon2, Hasher, Params, Version,
        params::{Memory, TagLen},
    };

    use super::HashParameters;

    #[derive(Default)]
    pub(super) struct Workspace(Option<Hasher>);

    impl Workspace {
        pub(super) fn touched(parameters: &HashParameters) -> Self {
            let mut workspace = Self::default();
            let mut tag = [0; 32];
            // The first hash sizes and touches the arena.
            if workspace.argon2id(b"warm-up", &[0; 16], &[], parameters, &mut tag).is_err() {
                return Self::default();
            }
            workspace
        }

        pub(super) fn argon2id(
            &mut self,
            password: &[u8],
            salt: &[u8],
            secret: &[u8],
            parameters: &HashParameters,
            tag: &mut [u8],
        ) -> Result<(), String> {
            let length = u64::try_from(tag.len()).map_err(|error| error.to_string())?;
            let params = Params::builder()
                .memory(Memory::kib(u64::from(parameters.memory)))
                .passes(parameters.iterations)
                .lanes(parameters.lanes)
                .tag_len(TagLen::bytes(length))
                .build()
                .map_err(|error| error.to_string())?;
            let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
            let hasher = self.0.get_or_insert_with(|| argon2.hasher());
            hasher.set_argon2(argon2);
            hasher.hash_into_with_ad(password, salt, secret, &[], tag).map_err(|error| error.to_string())
        }

        /// `argon2-rust` wipes its arena itself (feature `zeroize-memory`).
        #[expect(clippy::unused_self, reason = "the other engine wipes here")]
        pub(super) fn wipe(&mut self) {}
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

    use super::*;
    use crate::testing::keyring::keyring;
    use crate::testing::random::SeededRandom;

    const CHEAP: HashParameters = HashParameters { memory: 64, iterations: 2, lanes: 1 };

    #[test]
    fn a_password_matches_its_own_hash_only() {
        let hasher = PasswordHasher::new(CHEAP);
        let (keyring, random) = (keyring(), SeededRandom::new(1));
        let right = Password::new("correct horse").unwrap();
        let stored = hasher.hash(&right, &keyring, &random).unwrap();
        assert!(stored.as_str().starts_with("$argon2id$v=19$m=64,t=2,p=1,keyid="));
        assert_eq!(hasher.verify(&right, &stored, &keyring), Ok(Verification::Match));
        for wrong in ["Correct horse", "correct horse ", "correct hors", "correct horse\u{0}"] {
            let wrong = Password::new(wrong).unwrap();
            assert_eq!(hasher.verify(&wrong, &stored, &keyring), Ok(Verification::Mismatch));
        }
    }

    #[test]
    fn spellings_of_one_character_are_one_password() {
        let hasher = PasswordHasher::new(CHEAP);
        let (keyring, random) = (keyring(), SeededRandom::new(1));
        let stored = hasher.hash(&Password::new("caf\u{e9}").unwrap(), &keyring, &random).unwrap();
        let decomposed = Password::new("cafe\u{301}").unwrap();
        assert_eq!(hasher.verify(&decomposed, &stored, &keyring), Ok(Verification::Match));
    }

    #[test]
    fn a_weaker_hash_matches_and_is_reported_as_outdated() {
        let (keyring, random) = (keyring(), SeededRandom::new(1));
        let password = Password::new("correct horse").unwrap();
        let weak = PasswordHasher::new(CHEAP).hash(&password, &keyring, &random).unwrap();
        let strong = PasswordHasher::new(HashParameters { memory: 128, ..CHEAP });
        assert_eq!(strong.verify(&password, &weak, &keyring), Ok(Verification::MatchOutdated));
    }

    #[test]
    fn a_check_fills_as_many_blocks_for_a_cheaper_hash_as_for_one_of_today_and_for_none() {
        let (keyring, random) = (keyring(), SeededRandom::new(1));
        let (right, wrong) = (Password::new("correct horse").unwrap(), Password::new("wrong").unwrap());
        let of = |memory, iterations, lanes| HashParameters { memory, iterations, lanes };
        let stored_with = [
            of(64, 1, 1),
            of(64, 2, 1),
            of(100, 3, 2),
            of(128, 2, 1),
            of(508, 2, 1),
            of(512, 1, 1),
            of(700, 1, 1),
            of(256, 3, 4),
        ];
        for today in [of(512, 2, 1), of(512, 3, 1), of(1024, 1, 1)] {
            let hasher = PasswordHasher::new(today);
            let spent = |check: &dyn Fn()| {
                let before = hasher.blocks_filled.load(std::sync::atomic::Ordering::Relaxed);
                check();
                hasher.blocks_filled.load(std::sync::atomic::Ordering::Relaxed) - before
            };
            let nothing = spent(&|| hasher.verify_nothing(&wrong, &keyring).unwrap());
            assert_eq!(nothing, today.work());
            for parameters in stored_with {
                assert!(parameters.work() <= today.work());
                let stored = PasswordHasher::new(parameters).hash(&right, &keyring, &random).unwrap();
                for (password, matches) in [(&wrong, false), (&right, true)] {
                    let blocks = spent(&|| {
                        let verified = hasher.verify(password, &stored, &keyring).unwrap();
                        assert_eq!(verified != Verification::Mismatch, matches);
                    });
                    // Less than argon2's own minimum may be missing, in a pass.
                    let missing = nothing.abs_diff(blocks);
                    assert!(missing < 8, "{parameters:?} {today:?}: {missing} blocks");
                }
            }
        }
    }

    #[test]
    fn a_dearer_hash_than_todays_costs_what_it_costs() {
        let dear = HashParameters { memory: 256, ..CHEAP };
        assert_eq!(dear.short_of(&CHEAP), None);
        assert_eq!(CHEAP.short_of(&CHEAP), None);
        // What a raise to the default leaves open.
        let missing =
            HashParameters { memory: 7_168, iterations: 1, lanes: 1 }.short_of(&HashParameters::DEFAULT);
        assert_eq!(missing, Some(HashParameters { memory: 15_872, iterations: 2, lanes: 1 }));
    }

    #[test]
    fn a_hash_that_asks_for_too_much_is_refused_unread() {
        let text =
            "$argon2id$v=19$m=4194304,t=3,p=1$c29tZXNhbHRzYWx0$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        assert!(matches!(text.parse::<StoredHash>(), Err(PasswordError::TooCostly(_))));
        for text in
            ["", "plain", "$2b$12$abcdefghijklmnopqrstuv", "$argon2i$v=19$m=64,t=1,p=1$c29tZXNhbHQ$AAAA"]
        {
            assert!(matches!(text.parse::<StoredHash>(), Err(PasswordError::Malformed(_))), "{text}");
        }
    }

    #[test]
    fn a_password_has_1_to_1024_bytes() {
        assert!(Password::new("").is_err());
        assert!(Password::new(&"a".repeat(1024)).is_ok());
        assert!(Password::new(&"a".repeat(1025)).is_err());
        assert!(Password::new(&"\u{e9}".repeat(513)).is_err());
    }

    fn vectors() -> Vec<serde_json::Value> {
        let text = include_str!("../../testdata/argon2_phc_vectors.json");
        let document: serde_json::Value = serde_json::from_str(text).unwrap();
        document["vectors"].as_array().unwrap().clone()
    }

    /// The reference implementation's known answers, which have no secret: as the hash of an account that came from elsewhere.
    #[test]
    fn the_reference_implementations_hashes_are_verified_and_reported_as_outdated() {
        let keyring = keyring();
        let hasher = PasswordHasher::new(CHEAP);
        let known: Vec<_> = vectors().into_iter().filter(|vector| vector["type"] == "Argon2_id").collect();
        assert_eq!(known.len(), 8);
        for vector in known {
            let text = |name: &str| vector[name].as_str().unwrap();
            let number = |name: &str| u32::try_from(vector[name].as_u64().unwrap()).unwrap();
            let parameters =
                HashParameters { memory: number("m_kib"), iterations: number("t"), lanes: number("p") };
            let mut tag = [0; 32];
            engine::Workspace::default()
                .argon2id(text("password").as_bytes(), text("salt").as_bytes(), &[], &parameters, &mut tag)
                .unwrap();
            assert_eq!(data_encoding::HEXLOWER.encode(&tag), text("hash_hex"), "{parameters:?}");

            let stored: StoredHash = text("encoded").parse().unwrap();
            let right = Password::new(text("password")).unwrap();
            // It has no pepper: that alone makes it outdated.
            assert_eq!(
                hasher.verify(&right, &stored, &keyring),
                Ok(Verification::MatchOutdated),
                "{parameters:?}"
            );
        }
        let stored: StoredHash =
            vectors().iter().find(|vector| vector["m_kib"] == 256 && vector["type"] == "Argon2_id").unwrap()
                ["encoded"]
                .as_str()
                .unwrap()
                .parse()
                .unwrap();
        let wrong = Password::new("Password").unwrap();
        assert_eq!(hasher.verify(&wrong, &stored, &keyring), Ok(Verification::Mismatch));
    }

    #[test]
    fn argon2i_of_any_version_is_not_read() {
        let others: Vec<_> = vectors().into_iter().filter(|vector| vector["type"] != "Argon2_id").collect();
        assert!(others.len() >= 18, "{}", others.len());
        for vector in others.iter().filter_map(|vector| vector["encoded"].as_str()) {
            assert!(matches!(vector.parse::<StoredHash>(), Err(PasswordError::Malformed(_))), "{vector}");
        }
    }

    #[test]
    fn a_hash_depends_on_the_pepper_and_names_it() {
        use crate::{
            keyring::{KeyId, KeyState},
            testing::keyring::document,
        };
        let (hasher, random) = (PasswordHasher::new(CHEAP), SeededRandom::new(1));
        let password = Password::new("correct horse").unwrap();
        let before = document();
        let stored = hasher.hash(&password, &Keyring::from_document(&before).unwrap(), &random).unwrap();
        // Another key under the same name.
        let mut exchanged = before.clone();
        exchanged.pepper[0].key = before.aead[0].key.clone();
        let keyring = Keyring::from_document(&exchanged).unwrap();
        assert_eq!(hasher.verify(&password, &stored, &keyring), Ok(Verification::Mismatch));
        // Rotated: it still matches, and is renewed.
        let mut rotated = before.clone();
        rotated.pepper[0].state = KeyState::Previous;
        rotated.pepper.push(before.aead[0].clone());
        rotated.pepper[1].id = KeyId(2);
        let keyring = Keyring::from_document(&rotated).unwrap();
        assert_eq!(hasher.verify(&password, &stored, &keyring), Ok(Verification::MatchOutdated));
        // Revoked: nobody can tell.
        rotated.pepper[0].state = KeyState::Revoked;
        let keyring = Keyring::from_document(&rotated).unwrap();
        assert_eq!(hasher.verify(&password, &stored, &keyring), Err(PasswordError::PepperMissing(KeyId(1))));
    }

    #[test]
    fn a_used_workspace_gives_the_same_hash_as_a_fresh_one() {
        // Bigger, smaller, bigger again: what the last hash left must not show.
        let (keyring, random) = (keyring(), SeededRandom::new(1));
        let reused = PasswordHasher::new(CHEAP);
        let password = Password::new("correct horse").unwrap();
        for memory in [256, 64, 1024, 64, 256] {
            let fresh = PasswordHasher::new(HashParameters { memory, ..CHEAP });
            let stored = fresh.hash(&password, &keyring, &random).unwrap();
            let verified = reused.verify(&password, &stored, &keyring).unwrap();
            assert_ne!(verified, Verification::Mismatch, "{memory} KiB");
        }
    }

    #[cfg(feature = "simd-argon2")]
    #[test]
    fn both_engines_compute_the_same_tags() {
        let mut simd = engine::Workspace::default();
        let mut plain = portable::Workspace::default();
        for (index, parameters) in [
            CHEAP,
            HashParameters { memory: 19_456, iterations: 2, lanes: 1 },
            HashParameters { memory: 1_000, iterations: 3, lanes: 2 },
        ]
        .into_iter()
        .enumerate()
        {
            for length in [0_usize, 1, 63, 64, 65, 1024] {
                let password = vec![b'p'; length];
                let (mut left, mut right) = ([0; 32], [0; 32]);
                let salt = [u8::try_from(index).unwrap(); 16];
                simd.argon2id(&password, &salt, b"pepper", &parameters, &mut left).unwrap();
                plain.argon2id(&password, &salt, b"pepper", &parameters, &mut right).unwrap();
                assert_eq!(left, right);
            }
        }
    }
}
