package io.blockwharf.it;

import static org.ops4j.pax.exam.CoreOptions.bundle;
import static org.ops4j.pax.exam.CoreOptions.composite;
import static org.ops4j.pax.exam.CoreOptions.frameworkProperty;
import static org.ops4j.pax.exam.CoreOptions.junitBundles;
import static org.ops4j.pax.exam.CoreOptions.systemProperty;

import org.ops4j.pax.exam.Option;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;

/** The distribution that the build has laid out, as files and as options for Pax Exam. */
final class Distribution {
    static final Path HOME = Path.of(System.getProperty("blockwharf.distribution")).normalize();

    private Distribution() {}

    /** The jars of one of its folders, by name. */
    static List<Path> jars(String folder) {
        try (var files = Files.list(HOME.resolve(folder))) {
            return files.filter(file -> file.toString().endsWith(".jar")).sorted().toList();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** Boots the bundles of these folders in the test's own JVM. */
    static Option runSet(String... folders) {
        Option[] bundles =
                List.of(folders).stream()
                        .flatMap(folder -> jars(folder).stream())
                        .map(jar -> bundle(jar.toUri().toString()))
                        .toArray(Option[]::new);
        return composite(
                junitBundles(),
                frameworkProperty("org.ops4j.pax.logging.DefaultServiceLog.level").value("WARN"),
                // As the launcher does: standard input is the test runner's.
                frameworkProperty("gosh.args").value("--nointeractive --noshutdown"),
                systemProperty("blockwharf.distribution").value(HOME.toString()),
                composite(bundles));
    }
}
