//! The conformance suite of drivers, run by each of them, and what is peculiar to one. In a mount namespace of its own.

mod conformance;
mod fake_plugin;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use errors::{ErrorKind, Kind};
use libtest_mimic::{Arguments, Trial};
use plugin_client::Plugins;
use volume::{Driver, LocalDriver, Options, PluginDriver, VolumeError};

use crate::fake_plugin::FakePlugin;

fn main() {
    let arguments = Arguments::from_args();
    let root = rustix::process::geteuid().is_root();
    if root && !arguments.list {
        enter_namespace();
    }
    let mut trials = Vec::new();
    for (name, run) in conformance::SUITE {
        let plain = Trial::test(format!("local::{name}"), move || on_local(Options::new(), run));
        let tmpfs = Trial::test(format!("local_tmpfs::{name}"), move || on_local(tmpfs(), run));
        trials.push(plain.with_ignored_flag(!root));
        trials.push(tmpfs.with_ignored_flag(!root));
        trials.push(Trial::test(format!("plugin::{name}"), move || on_plugin(run)));
    }
    let own: [(&str, fn()); 7] = [
        ("a_mount_is_made_once_and_found_again_by_the_next_daemon", found_again),
        ("what_the_kernel_refuses_is_told_in_dockers_words", refused),
        ("a_share_s_server_is_looked_up_and_its_password_is_not_told", shares),
        ("binds_are_read_only_where_they_shall_be", binds),
        ("nothing_is_deleted_through_a_mount", mounted_inside),
        ("docker_finds_its_way_back", docker_again),
        ("a_plugin_that_does_not_answer_is_waited_for_in_bounds", silent),
    ];
    for (name, run) in own {
        trials.push(
            Trial::test(name, move || {
                run();
                Ok(())
            })
            .with_ignored_flag(!root),
        );
    }
    libtest_mimic::run(&arguments, trials).exit();
}

/// Before any thread: mounts are this test's own.
fn enter_namespace() {
    sys::process::unshare(0x0002_0000).expect("mount namespace");
    let (recursive, private) = (0x4000, 1 << 18);
    sys::mount::mount(None, c"/", None, recursive | private, None).expect("private mounts");
}

fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(20), future).await.expect("in time") })
}

fn options(pairs: &[(&str, &str)]) -> Options {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn tmpfs() -> Options {
    options(&[("type", "tmpfs"), ("device", "tmpfs"), ("o", "size=1m,mode=755")])
}

fn local(folder: &Path) -> LocalDriver {
    LocalDriver::open(folder.join("volumes"), (0, 0)).expect("open")
}

fn on_local(options: Options, test: conformance::Test) -> Result<(), libtest_mimic::Failed> {
    let folder = tempfile::tempdir()?;
    let driver = local(folder.path());
    run(test(Arc::new(driver), options));
    Ok(())
}

fn on_plugin(test: conformance::Test) -> Result<(), libtest_mimic::Failed> {
    let folder = tempfile::tempdir()?;
    let plugin = FakePlugin::start(folder.path(), "fake");
    run(async {
        let driver = plugin.driver().await;
        test(Arc::new(driver), options(&[("color", "red")])).await;
    });
    Ok(())
}

fn found_again() {
    let folder = tempfile::tempdir().expect("folder");
    run(async {
        let before = local(folder.path());
        before.create("mem", &tmpfs()).await.expect("create");
        let place = before.mount("mem", &tmpfs(), "one").await.expect("mount");
        fs::write(place.join("file"), "x").expect("write");
        // The daemon dies; the next one knows who runs.
        let after = local(folder.path());
        after.restore("mem", &tmpfs(), &["one".to_owned()]).await.expect("restore");
        assert_eq!(after.mount("mem", &tmpfs(), "two").await.expect("mount"), place);
        after.unmount("mem", "one").await.expect("unmount");
        assert!(place.join("file").exists(), "two is still there");
        after.unmount("mem", "two").await.expect("unmount");
        assert!(!place.join("file").exists());
        // And one that finds a mount without a user takes it away.
        after.mount("mem", &tmpfs(), "three").await.expect("mount");
        fs::write(place.join("file"), "x").expect("write");
        local(folder.path()).restore("mem", &tmpfs(), &[]).await.expect("restore");
        assert!(!place.join("file").exists());
    });
}

fn refused() {
    let folder = tempfile::tempdir().expect("folder");
    run(async {
        let driver = local(folder.path());
        let data = folder.path().join("volumes/bad/_data");
        let bad = options(&[("type", "tmpfs"), ("device", "tmpfs"), ("o", "foo=bar")]);
        driver.create("bad", &bad).await.expect("create");
        let error = driver.mount("bad", &bad, "one").await.expect_err("refused");
        let words =
            format!("failed to mount local volume: mount tmpfs:{}, data: foo=bar: invalid argument", data.display());
        assert_eq!(error.to_string(), words);
        let bind = options(&[("type", "none"), ("device", "/nowhere"), ("o", "bind")]);
        let error = driver.mount("bad", &bind, "one").await.expect_err("refused");
        let words = format!(
            "failed to mount local volume: mount /nowhere:{}, flags: 0x1000: no such file or directory",
            data.display()
        );
        assert_eq!(error.to_string(), words);
        let unknown = options(&[("type", "nfs"), ("device", ":/x"), ("o", "addr=nobody.invalid.")]);
        let error = driver.mount("bad", &unknown, "one").await.expect_err("refused");
        assert!(
            errors::chain(&error)
                .starts_with("error resolving passed in network volume address: lookup nobody.invalid")
        );
        assert_eq!(driver.check("a", &Options::new()).expect_err("short").kind(), ErrorKind::InvalidArgument);
        let error = driver.create("a/b", &Options::new()).await.expect_err("name");
        assert!(error.to_string().starts_with("\"a/b\" includes invalid characters for a local volume name, only"));
    });
}

/// CIFS: by the name in the device, or by `addr=`. Nobody serves here, and the kernel may not know the file system at all.
fn shares() {
    let folder = tempfile::tempdir().expect("folder");
    run(async {
        let driver = local(folder.path());
        let data = folder.path().join("volumes/share/_data");
        for (device, words, called) in [
            ("//localhost/files", "username=u,password=p", "//127.0.0.1/files:{}, data: username=u,password=********"),
            (
                "//127.0.0.1/a b",
                "password=p,ro,vers=3.0",
                "//127.0.0.1/a b:{}, flags: 0x1, data: password=********,vers=3.0",
            ),
            ("//share/files", "addr=localhost,password=p", "//share/files:{}, data: addr=127.0.0.1,password=********"),
        ] {
            let share = options(&[("type", "cifs"), ("device", device), ("o", words)]);
            driver.create("share", &share).await.expect("create");
            let error = driver.mount("share", &share, "one").await.expect_err("nobody serves").to_string();
            let begins =
                format!("failed to mount local volume: mount {}: ", called.replace("{}", &data.to_string_lossy()));
            assert!(error.starts_with(&begins), "{error}\n{begins}");
            if !fs::read_to_string("/proc/filesystems").expect("a list").contains("cifs") {
                assert_eq!(error[begins.len()..], *"no such device");
            }
            driver.remove("share").await.expect("remove");
        }
        let unknown = options(&[("type", "cifs"), ("device", "//nobody.invalid./x")]);
        let error = errors::chain(&driver.mount("share", &unknown, "one").await.expect_err("refused"));
        assert!(
            error.starts_with("error resolving passed in network volume address: lookup nobody.invalid"),
            "{error}"
        );
    });
}

fn binds() {
    let folder = tempfile::tempdir().expect("folder");
    let source = folder.path().join("source");
    fs::create_dir(&source).expect("source");
    fs::write(source.join("file"), "x").expect("write");
    run(async {
        let driver = local(folder.path());
        let device = source.to_str().expect("text");
        let bind = options(&[("type", "none"), ("device", device), ("o", "bind,ro")]);
        driver.create("bound", &bind).await.expect("create");
        let place = driver.mount("bound", &bind, "one").await.expect("mount");
        assert!(place.join("file").exists());
        let error = fs::write(place.join("new"), "x").expect_err("read-only");
        assert_eq!(error.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
        assert!(matches!(driver.remove("bound").await, Err(VolumeError::Active)));
        driver.unmount("bound", "one").await.expect("unmount");
        driver.remove("bound").await.expect("remove");
        assert!(source.join("file").exists(), "what was bound is somebody else's");
    });
}

fn mounted_inside() {
    let folder = tempfile::tempdir().expect("folder");
    let source = folder.path().join("source");
    fs::create_dir(&source).expect("source");
    fs::write(source.join("file"), "x").expect("write");
    run(async {
        let driver = local(folder.path());
        driver.create("data", &Options::new()).await.expect("create");
        let inside = driver.data_folder("data").join("inside");
        fs::create_dir(&inside).expect("inside");
        rustix::mount::mount_bind(&source, &inside).expect("bind");
        let error = driver.remove("data").await.expect_err("refused");
        assert!(error.to_string().ends_with("inside is a mount point"), "{error}");
        assert!(source.join("file").exists());
        rustix::mount::unmount(&inside, rustix::mount::UnmountFlags::DETACH).expect("unmount");
        driver.remove("data").await.expect("remove");
        assert!(source.join("file").exists() && !driver.data_folder("data").exists());
    });
}

fn docker_again() {
    let folder = tempfile::tempdir().expect("folder");
    run(async {
        let driver = local(folder.path());
        driver.create("mem", &tmpfs()).await.expect("create");
        driver.create("plain", &Options::new()).await.expect("create");
        let text = fs::read_to_string(folder.path().join("volumes/mem/opts.json")).expect("opts.json");
        let docker = r#"{"MountType":"tmpfs","MountOpts":"size=1m,mode=755","MountDevice":"tmpfs","Quota":{"Size":0}}"#;
        assert_eq!(text, docker);
        fs::create_dir(folder.path().join("volumes/no-data")).expect("folder");
        fs::write(folder.path().join("volumes/metadata.db"), "bolt").expect("file");
        let mut found = local(folder.path()).on_disk().expect("list");
        found.sort();
        assert_eq!(found, [("mem".to_owned(), tmpfs()), ("plain".to_owned(), Options::new())]);
    });
}

fn silent() {
    let folder = tempfile::tempdir().expect("folder");
    let plugin = FakePlugin::start(folder.path(), "silent");
    run(async {
        let driver = plugin.driver().await;
        plugin.stop();
        let error = driver.list().await.expect_err("unreachable");
        assert!(error.is_unreachable(), "{error:?}");
        let plugins = Plugins { patience: Duration::ZERO, ..plugin.plugins() };
        let error = PluginDriver::activate(plugins.find("silent").expect("its socket")).await.err().expect("silence");
        assert_eq!(error.kind(), ErrorKind::Unavailable);
    });
}
