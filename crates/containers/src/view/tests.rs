use std::fs;
use std::os::unix::fs::symlink;

use super::*;

fn overlay(folder: &Path) -> Mount {
    for name in ["lower", "upper", "work", "place"] {
        fs::create_dir(folder.join(name)).unwrap();
    }
    let option = |key: &str, name: &str| format!("{key}={}", folder.join(name).display());
    Mount {
        r#type: "overlay".into(),
        source: "overlay".into(),
        options: vec![
            "index=off".into(),
            option("workdir", "work"),
            option("upperdir", "upper"),
            option("lowerdir", "lower"),
        ],
        ..Mount::default()
    }
}

fn bind(source: &Path, destination: &str, read_write: bool) -> Bind {
    Bind {
        source: source.to_owned(),
        subpath: PathBuf::new(),
        destination: destination.into(),
        read_write,
        recursive: true,
    }
}

fn read(view: &View, path: &str) -> io::Result<String> {
    let file = open_inside(view.root(), Path::new(path), OFlags::RDONLY)?;
    let mut text = String::new();
    io::Read::read_to_string(&mut File::from(file), &mut text)?;
    Ok(text)
}

#[test]
fn a_container_at_rest_has_its_layers_and_volumes_and_nobody_else_sees_the_mounts() {
    let folder = tempfile::tempdir().unwrap();
    let mount = overlay(folder.path());
    fs::write(folder.path().join("lower/low"), "low").unwrap();
    fs::write(folder.path().join("upper/up"), "up").unwrap();
    let volume = folder.path().join("volume");
    fs::create_dir(&volume).unwrap();
    fs::write(volume.join("file"), "volume").unwrap();
    let binds = [bind(&volume, "/made/here", true)];
    let place = folder.path().join("place");
    let view = View::of_snapshot(&place, &[mount], &binds, Access::Read).unwrap();
    assert_eq!(read(&view, "/low").unwrap(), "low");
    assert_eq!(read(&view, "/up").unwrap(), "up");
    assert_eq!(read(&view, "/made/here/file").unwrap(), "volume");
    assert!(folder.path().join("upper/made/here").is_dir(), "the place is made as a start would make it");
    assert_eq!(fs::read_dir(&place).unwrap().count(), 0);
    assert!(!fs::read_to_string("/proc/self/mountinfo").unwrap().contains(&*place.to_string_lossy()));
}

#[test]
fn a_folder_of_a_volume_is_found_inside_the_volume_only() {
    let folder = tempfile::tempdir().unwrap();
    let mount = overlay(folder.path());
    let volume = folder.path().join("volume");
    fs::create_dir_all(volume.join("sub")).unwrap();
    fs::write(volume.join("sub/file"), "sub").unwrap();
    symlink("/", volume.join("out")).unwrap();
    let place = folder.path().join("place");
    let view = |subpath: &str| {
        let bind = Bind { subpath: subpath.into(), ..bind(&volume, "/data", true) };
        View::of_snapshot(&place, std::slice::from_ref(&mount), &[bind], Access::Read)
    };
    assert_eq!(read(&view("sub").unwrap(), "/data/file").unwrap(), "sub");
    // The volume's own root.
    assert_eq!(read(&view("out").unwrap(), "/data/sub/file").unwrap(), "sub");
}

#[test]
fn what_is_mounted_read_only_cannot_be_written_and_the_rest_can() {
    let folder = tempfile::tempdir().unwrap();
    let mount = overlay(folder.path());
    let volume = folder.path().join("volume");
    fs::create_dir(&volume).unwrap();
    let place = folder.path().join("place");
    let view = View::of_snapshot(&place, &[mount], &[bind(&volume, "/data", false)], Access::Write).unwrap();
    let create = |path: &str| {
        let flags = OFlags::CREATE | OFlags::WRONLY;
        let resolve = ResolveFlags::IN_ROOT;
        openat2(view.root(), path, flags, Mode::RUSR, resolve).map(drop)
    };
    assert_eq!(create("/data/file"), Err(Errno::ROFS));
    create("/file").unwrap();
    assert!(folder.path().join("upper/file").exists());
}

#[test]
fn a_place_that_is_a_link_to_the_host_is_found_inside_only() {
    let folder = tempfile::tempdir().unwrap();
    let mount = overlay(folder.path());
    let outside = tempfile::tempdir().unwrap();
    symlink(outside.path(), folder.path().join("upper/data")).unwrap();
    let volume = folder.path().join("volume");
    fs::create_dir(&volume).unwrap();
    let place = folder.path().join("place");
    let made = View::of_snapshot(&place, &[mount], &[bind(&volume, "/data/inner", true)], Access::Write);
    // The link leads to a place that is not there inside; it is not made outside.
    assert!(made.is_err());
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
}

#[test]
fn a_process_s_namespace_is_seen_whatever_its_own_root_is() {
    let view = View::of_process(std::process::id()).unwrap();
    assert_eq!(read(&view, "/proc/sys/kernel/ostype").unwrap(), "Linux\n");
    let bare = View::bare_of_process(std::process::id()).unwrap();
    assert!(read(&bare, "/proc/sys/kernel/ostype").is_err(), "what is mounted on the root is not below it");
}

#[test]
fn an_upper_directory_in_use_is_looked_at_as_a_lower_one() {
    let mount = Mount {
        r#type: "overlay".into(),
        options: ["index=off", "workdir=/w", "upperdir=/u", "lowerdir=/a:/b"].map(str::to_owned).to_vec(),
        ..Mount::default()
    };
    assert_eq!(read_only(&mount).options, ["index=off", "lowerdir=/u:/a:/b", "ro"]);
}
