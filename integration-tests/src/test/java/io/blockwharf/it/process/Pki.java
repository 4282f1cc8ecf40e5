package io.blockwharf.it.process;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.List;

/**
 * Certificates and shared keys, made with GnuTLS's certtool and psktool as QEMU's manual tells
 * administrators. Every folder is what one end of a connection has, by the names that QEMU and
 * libnbd expect.
 */
final class Pki {
    /** Of the keys that are encrypted. */
    static final String PASSWORD = "open sesame";

    private static final String CLIENT = "tls_www_client\nsigning_key\n";
    private static final String SERVER =
            "tls_www_server\nsigning_key\ndns_name = localhost\nip_address = 127.0.0.1\n";
    private static final String VALID = "expiration_days = 10\n";
    private static final String EXPIRED =
            "activation_date = \"2020-01-01 00:00:00\"\n"
                    + "expiration_date = \"2021-01-01 00:00:00\"\n";

    private final Path directory;

    /** Makes everything in an empty folder. */
    Pki(Path directory) throws IOException {
        this.directory = directory;
        authority("ca");
        authority("other-ca");
        end("server", "server", "ca", SERVER + VALID, "ca", "--password=" + PASSWORD);
        end("open-server", "server", "ca", SERVER + VALID, "ca");
        end("expired-server", "server", "ca", SERVER + EXPIRED, "ca");
        end("client", "client", "ca", CLIENT + VALID, "ca");
        end("expired-client", "client", "ca", CLIENT + EXPIRED, "ca");
        end("stranger", "client", "other-ca", CLIENT + VALID, "ca");
        end("revoked", "client", "ca", CLIENT + VALID, "ca");
        end("distrustful", "client", "ca", CLIENT + VALID, "other-ca");
        Files.copy(file("ca-cert.pem"), folder("nobody").resolve("ca-cert.pem"));
        Files.writeString(file("crl.tmpl"), VALID + "crl_number = 1\n");
        certtool(
                "--generate-crl",
                "--load-ca-privkey=" + file("ca-key.pem"),
                "--load-ca-certificate=" + file("ca-cert.pem"),
                "--load-certificate=" + of("revoked").resolve("client-cert.pem"),
                "--template=" + file("crl.tmpl"),
                "--outfile=" + of("server").resolve("ca-crl.pem"));
        Path users = folder("users").resolve("keys.psk");
        for (String user : List.of("alice", "bob", "carol")) {
            Tools.run("psktool", "--username=" + user, "--pskfile=" + users).ok();
        }
        Path wrong = folder("wrong-users").resolve("keys.psk");
        for (String user : List.of("alice", "mallory")) {
            Tools.run("psktool", "--username=" + user, "--pskfile=" + wrong).ok();
        }
    }

    /** The folder of an end. */
    Path of(String name) {
        return file(name);
    }

    private Path file(String name) {
        return directory.resolve(name);
    }

    private Path folder(String name) throws IOException {
        return Files.createDirectory(file(name));
    }

    private void authority(String name) throws IOException {
        key(file(name + "-key.pem"));
        Files.writeString(
                file(name + ".tmpl"), "cn = " + name + "\nca\ncert_signing_key\n" + VALID);
        certtool(
                "--generate-self-signed",
                "--load-privkey=" + file(name + "-key.pem"),
                "--template=" + file(name + ".tmpl"),
                "--outfile=" + file(name + "-cert.pem"));
    }

    /**
     * An end's key and certificate, and whom it trusts.
     *
     * @param password certtool's option, to encrypt the key
     */
    private void end(
            String name,
            String role,
            String issuer,
            String template,
            String trusts,
            String... password)
            throws IOException {
        Path folder = folder(name);
        Path key = folder.resolve(role + "-key.pem");
        Path form = folder.resolve("tmpl");
        key(key);
        Files.writeString(form, "organization = Blockwharf\ncn = " + name + "\n" + template);
        certtool(
                "--generate-certificate",
                "--load-privkey=" + key,
                "--load-ca-certificate=" + file(issuer + "-cert.pem"),
                "--load-ca-privkey=" + file(issuer + "-key.pem"),
                "--template=" + form,
                "--outfile=" + folder.resolve(role + "-cert.pem"));
        for (String option : password) {
            Path encrypted = folder.resolve("encrypted");
            certtool("--to-p8", "--load-privkey=" + key, option, "--outfile=" + encrypted);
            Files.move(encrypted, key, StandardCopyOption.REPLACE_EXISTING);
        }
        Files.copy(file(trusts + "-cert.pem"), folder.resolve("ca-cert.pem"));
    }

    private static void key(Path file) {
        certtool("--generate-privkey", "--key-type=ecdsa", "--outfile=" + file);
    }

    private static void certtool(String... arguments) {
        List<String> command = new ArrayList<>(List.of("certtool"));
        command.addAll(List.of(arguments));
        Tools.run(command).ok();
    }
}
