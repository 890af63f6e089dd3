//! TLS against Debian's docker-registry at an address that is not loopback's, which alone is verified.

use std::fs;
use std::net::TcpStream;
use std::process::{Command, ExitCode};

use anyhow::{Result, ensure};
use ids::Reference;
use registry_client::{Credentials, Registries, RegistryError, RegistryOptions};
use testhost::{Host, Needs, Test, run, test, wait_until};

const ADDRESS: &str = "10.9.9.9:5443";
const NEEDS: &[Needs] = &[
    Needs::Program("docker-registry", "docker-registry"),
    Needs::Program("openssl", "openssl"),
    Needs::Program("ip", "iproute2"),
];

const TESTS: &[Test] = &[
    test("a_registry_is_trusted_by_the_certificate_in_its_folder_only", NEEDS, own_certificate),
    test("a_registry_that_asks_for_a_certificate_gets_the_one_in_its_folder", NEEDS, client_certificate),
    test("an_insecure_registry_is_spoken_to_with_and_without_tls", NEEDS, insecure),
];

fn main() -> ExitCode {
    run(TESTS)
}

fn own_certificate(host: &Host) -> Result<()> {
    start(host, true)?;
    let folder = host.path("certs.d");
    let refused = greet(RegistryOptions { certificates: folder.clone(), ..Default::default() }).unwrap_err();
    let line = errors::chain(&refused);
    ensure!(line.starts_with("Get \"https://10.9.9.9:5443/v2/\": tls: failed to verify certificate: x509: "), "{line}");
    fs::create_dir_all(folder.join(ADDRESS))?;
    fs::copy(host.path("ca.pem"), folder.join(ADDRESS).join("ca.crt"))?;
    greet(RegistryOptions { certificates: folder.clone(), ..Default::default() })?;
    fs::write(folder.join(ADDRESS).join("broken.crt"), "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n")?;
    let broken = greet(RegistryOptions { certificates: folder, ..Default::default() }).unwrap_err();
    ensure!(errors::chain(&broken).contains("broken.crt"), "{}", errors::chain(&broken));
    Ok(())
}

fn client_certificate(host: &Host) -> Result<()> {
    start_with(host, true, &format!("    clientcas:\n      - {}\n", host.path("ca.pem").display()))?;
    let (certificates, folder) = (host.path("certs.d"), host.path("certs.d").join(ADDRESS));
    fs::create_dir_all(&folder)?;
    fs::copy(host.path("ca.pem"), folder.join("ca.crt"))?;
    let options = || RegistryOptions { certificates: certificates.clone(), ..Default::default() };
    ensure!(greet(options()).is_err(), "without a certificate nobody is let in");
    // The registry's own serves as well as any other of the authority.
    fs::copy(host.path("server.pem"), folder.join("client.cert"))?;
    let refused = errors::chain(&greet(options()).unwrap_err());
    ensure!(refused.contains("missing key client.key for client certificate client.cert"), "{refused}");
    fs::copy(host.path("server.key"), folder.join("client.key"))?;
    greet(options())?;
    fs::remove_file(folder.join("client.cert"))?;
    let refused = errors::chain(&greet(options()).unwrap_err());
    ensure!(refused.contains("missing client certificate client.cert for key client.key"), "{refused}");
    Ok(())
}

fn insecure(host: &Host) -> Result<()> {
    start(host, true)?;
    let listed = |entry: &str| RegistryOptions { insecure: vec![entry.to_owned()], ..Default::default() };
    greet(listed("10.9.9.0/24"))?;
    greet(listed(ADDRESS))?;
    host.end()?;
    start(host, false)?;
    greet(listed(ADDRESS))?;
    // A registry that is not listed is never asked without TLS.
    let refused = greet(RegistryOptions::default()).unwrap_err();
    ensure!(matches!(refused, RegistryError::Transport { .. }), "{refused}");
    Ok(())
}

fn greet(options: RegistryOptions) -> Result<(), RegistryError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let reference = Reference::parse_familiar(&format!("{ADDRESS}/app")).expect("a reference");
    let repository = Registries::new(options).repository(&reference, Credentials::Anonymous);
    runtime.block_on(repository.ping())
}

/// The registry at an address of the test's own loopback link, with a certificate of the test's own authority.
fn start(host: &Host, tls: bool) -> Result<()> {
    start_with(host, tls, "")
}

/// With further lines about TLS.
fn start_with(host: &Host, tls: bool, more: &str) -> Result<()> {
    if !host.path("ca.pem").exists() {
        host.command("ip", &["address", "add", "10.9.9.9/32", "dev", "lo"])?;
        certificates(host)?;
    }
    let mut config = format!(
        "version: 0.1\nlog:\n  level: warn\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: {ADDRESS}\n",
        host.path("storage").display()
    );
    if tls {
        let (certificate, key) = (host.path("server.pem"), host.path("server.key"));
        config += &format!("  tls:\n    certificate: {}\n    key: {}\n", certificate.display(), key.display());
        config += more;
    }
    let file = host.path("registry.yml");
    fs::write(&file, config)?;
    host.spawn("registry", Command::new("docker-registry").arg("serve").arg(&file))?;
    wait_until("the registry", || TcpStream::connect(ADDRESS).ok())?;
    Ok(())
}

fn certificates(host: &Host) -> Result<()> {
    let path = |name: &str| host.path(name).display().to_string();
    let new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"];
    let openssl = |arguments: &[&str]| host.command("openssl", arguments);
    let authority =
        ["req", "-x509", "-subj", "/CN=test authority", "-keyout", &path("ca.key"), "-out", &path("ca.pem")];
    openssl(&[&authority[..], &new_key].concat())?;
    fs::write(host.path("san"), "subjectAltName=IP:10.9.9.9\n")?;
    let request = ["req", "-subj", "/CN=registry", "-keyout", &path("server.key"), "-out", &path("server.csr")];
    openssl(&[&request[..], &new_key[..5]].concat())?;
    let sign = ["x509", "-req", "-in", &path("server.csr"), "-CA", &path("ca.pem"), "-CAkey", &path("ca.key")];
    openssl(
        &[&sign[..], &["-CAcreateserial", "-days", "2", "-extfile", &path("san"), "-out", &path("server.pem")]]
            .concat(),
    )?;
    Ok(())
}
