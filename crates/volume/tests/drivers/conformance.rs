//! What every driver has to do, whatever it keeps volumes in.

use std::fs;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use volume::{Driver, Options};

pub type Test = fn(Arc<dyn Driver>, Options) -> Pin<Box<dyn Future<Output = ()>>>;

pub const SUITE: [(&str, Test); 5] = [
    ("a_volume_is_made_once_listed_and_gone_when_removed", |driver, options| Box::pin(life(driver, options))),
    ("what_is_written_is_there_at_the_next_mount", |driver, options| Box::pin(keeps(driver, options))),
    ("a_volume_is_mounted_until_its_last_user_leaves", |driver, options| Box::pin(users(driver, options))),
    ("everything_may_be_done_twice", |driver, options| Box::pin(twice(driver, options))),
    ("what_is_not_there_is_said_to_be_not_there", |driver, options| Box::pin(absent(driver, options))),
];

async fn names(driver: &dyn Driver) -> Vec<String> {
    let mut names: Vec<String> = driver.list().await.expect("list").into_iter().map(|found| found.name).collect();
    names.sort();
    names
}

async fn life(driver: Arc<dyn Driver>, options: Options) {
    driver.check("data", &options).expect("options");
    driver.create("data", &options).await.expect("create");
    driver.create("other", &options).await.expect("create");
    assert_eq!(names(&*driver).await, ["data", "other"]);
    assert_eq!(driver.get("data").await.expect("get").expect("there").name, "data");
    driver.remove("data").await.expect("remove");
    assert_eq!(names(&*driver).await, ["other"]);
    assert_eq!(driver.get("data").await.expect("get"), None);
    driver.remove("other").await.expect("remove");
}

async fn keeps(driver: Arc<dyn Driver>, options: Options) {
    driver.create("data", &options).await.expect("create");
    let place = driver.mount("data", &options, "one").await.expect("mount");
    fs::write(place.join("file"), "text").expect("write");
    assert_eq!(driver.mount("data", &options, "two").await.expect("mount"), place, "both see the same");
    assert_eq!(fs::read_to_string(place.join("file")).expect("read"), "text");
    for id in ["one", "two"] {
        driver.unmount("data", id).await.expect("unmount");
    }
    driver.remove("data").await.expect("remove");
}

async fn users(driver: Arc<dyn Driver>, options: Options) {
    driver.create("data", &options).await.expect("create");
    let mut place = PathBuf::new();
    for id in ["one", "two"] {
        place = driver.mount("data", &options, id).await.expect("mount");
    }
    fs::write(place.join("file"), "text").expect("write");
    driver.unmount("data", "one").await.expect("unmount");
    assert!(place.join("file").exists(), "one leaves, two stays");
    driver.unmount("data", "two").await.expect("unmount");
    driver.remove("data").await.expect("remove, since nobody is there");
}

async fn twice(driver: Arc<dyn Driver>, options: Options) {
    for _ in 0..2 {
        driver.create("data", &options).await.expect("create");
    }
    let first = driver.mount("data", &options, "one").await.expect("mount");
    assert_eq!(driver.mount("data", &options, "one").await.expect("mount"), first);
    for _ in 0..2 {
        driver.unmount("data", "one").await.expect("unmount");
    }
    for _ in 0..2 {
        driver.remove("data").await.expect("remove");
    }
    assert!(names(&*driver).await.is_empty());
}

async fn absent(driver: Arc<dyn Driver>, _: Options) {
    assert_eq!(driver.get("nobody").await.expect("get"), None);
    driver.remove("nobody").await.expect("remove");
    driver.unmount("nobody", "one").await.expect("unmount");
    assert!(names(&*driver).await.is_empty());
}
