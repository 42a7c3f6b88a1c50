//! Where the rounds take place: the folder of a run, its MariaDB, and one world for each ground, made when first needed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::arguments::{Arguments, Engine};
use super::fault::{Fault, Ground};
use super::store::{MariaDb, SmallDisk};
use super::support::skip;
use super::world::{Setting, World};

/// Enough for a log of SQLite's, or all that MariaDB begins with, and the messages of many rounds.
const SMALL_DISK: &str = "320m";
/// Where Debian's package `faketime` has it.
const FAKETIME: [&str; 3] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib64/faketime/libfaketimeMT.so.1",
];

pub struct Stage {
    folder: PathBuf,
    binary: PathBuf,
    worlds: BTreeMap<Ground, World>,
    /// Grounds that cannot be had here.
    barred: Vec<Ground>,
    maria: Option<MariaDb>,
    /// One on the small disk.
    small_maria: Option<MariaDb>,
}

impl Stage {
    /// Starts what a run stands on; `None`, and loud, if this machine has no MariaDB for it.
    pub async fn prepare(arguments: &Arguments, engine: Engine, seed: u64) -> Option<Self> {
        // Not in /tmp, which is memory on many machines.
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("faults-{engine}-{seed}"));
        // Of an earlier run with the same seed.
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        let mut maria = None;
        if engine == Engine::Mysql {
            maria = MariaDb::install(&folder.join("mariadb")).await;
            if maria.is_none() {
                skip("the fault runner on MariaDB needs mariadbd and mariadb-install-db: install mariadb-server");
                return None;
            }
        }
        Some(Self {
            folder,
            binary: arguments.binary.clone(),
            worlds: BTreeMap::new(),
            barred: Vec::new(),
            maria,
            small_maria: None,
        })
    }

    /// The world for a fault; `None` if it cannot be had on this machine, which is said once.
    pub async fn ground(&mut self, fault: Fault) -> Option<(&mut World, Option<&mut MariaDb>)> {
        let ground = fault.ground();
        if self.barred.contains(&ground) {
            return None;
        }
        if !self.worlds.contains_key(&ground) {
            match self.make(ground).await {
                Ok(world) => self.worlds.insert(ground, world),
                Err(why) => {
                    skip(&format!("{} cannot be tried here: {why}", fault.name()));
                    self.barred.push(ground);
                    return None;
                }
            };
        }
        let maria = if ground == Ground::SmallDisk { &mut self.small_maria } else { &mut self.maria };
        Some((self.worlds.get_mut(&ground)?, maria.as_mut()))
    }

    async fn make(&mut self, ground: Ground) -> Result<World, String> {
        let name = format!("qingniao_faults_{ground:?}").to_lowercase();
        let folder = self.folder.join(&name);
        let (mut disk, mut faketime) = (None, None);
        match ground {
            Ground::Plain => {}
            Ground::SmallDisk => {
                let mounted = SmallDisk::mount(folder.join("disk"), SMALL_DISK);
                let mounted = mounted.map_err(|cause| format!("no small disk can be mounted (root can): {cause}"))?;
                if self.maria.is_some() {
                    self.small_maria = MariaDb::install(&mounted.folder.join("mariadb")).await;
                }
                disk = Some(mounted);
            }
            Ground::Clock => {
                let library = FAKETIME.iter().map(PathBuf::from).find(|path| path.is_file());
                faketime = Some(library.ok_or("there is no libfaketime (Debian: the package faketime)")?);
            }
        }
        let maria = if ground == Ground::SmallDisk { &self.small_maria } else { &self.maria };
        let (binary, maria) = (&self.binary, maria.as_ref());
        Ok(World::make(Setting { folder, binary, maria, name: &name, disk, faketime }).await)
    }

    /// Ends everything and leaves nothing.
    pub fn remove(mut self) {
        self.end();
        // What cannot be removed is in a target folder.
        let _ = std::fs::remove_dir_all(&self.folder);
    }

    /// Ends everything, and leaves logs and histories in the folder that is returned.
    pub fn keep(mut self) -> PathBuf {
        self.end();
        self.folder.clone()
    }

    fn end(&mut self) {
        for (ground, mut world) in std::mem::take(&mut self.worlds) {
            world.close();
            let told = world.recorder.lock().told();
            std::fs::write(self.folder.join(format!("history-{ground:?}.txt").to_lowercase()), told).unwrap();
        }
        self.small_maria = None;
        self.maria = None;
    }
}
