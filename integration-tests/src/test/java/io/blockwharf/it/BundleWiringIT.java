package io.blockwharf.it;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Set;
import java.util.TreeSet;
import java.util.jar.Attributes;
import java.util.jar.JarFile;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * The arrows of the architecture, from the manifests that bnd has written: who may import whom, who
 * may use a library, who has an API at all. Bundles meet as services otherwise.
 */
class BundleWiringIT {
    private static final Path BUNDLES = Distribution.HOME.resolve("../../../bundles").normalize();

    private static final String ARROWS =
            """
            # bundle   | may import (of ours)  | libraries             | exports packages
            api        |                       |            | yes
            linux      |                       | jna        | yes
            core       | api linux             |            | no
            security   | api                   | jackson    | no
            block      | api linux             |            | no
            qcow2      | api                   | zstd       | no
            nbd        | api linux             |            | no
            qmp        | api linux             | jackson    | no
            shell      | api linux             | felix.service.command | no
            virtio     | api                   |            | yes
            fuse       | api linux             |            | no
            vhostuser  | api linux virtio      |            | no
            vduse      | api linux virtio      |            | no
            """;

    @ParameterizedTest(name = "{0} -> {1}")
    @CsvSource(delimiter = '|', textBlock = ARROWS)
    void arrows(String bundle, String ours, String libraries, String exports) throws IOException {
        Attributes manifest = manifest(bundle);
        String own = "io.blockwharf." + bundle;
        Set<String> wrong = new TreeSet<>();
        for (String imported : packages(manifest, "Import-Package")) {
            boolean allowed =
                    within(imported, own)
                            || words(ours).anyMatch(b -> within(imported, "io.blockwharf." + b))
                            || words(libraries).anyMatch(l -> imported.contains("." + l))
                            || isPlatform(imported);
            if (!allowed) {
                wrong.add(imported);
            }
        }
        assertEquals(Set.of(), wrong, own + " imports against the arrows");
        Set<String> exported = packages(manifest, "Export-Package");
        assertEquals(
                Set.of(),
                exported.stream().filter(p -> !within(p, own)).collect(Collectors.toSet()),
                own + " exports what is not its own");
        assertTrue(exports.equals("yes") || exported.isEmpty(), own + " exports " + exported);
        assertEquals(null, manifest.getValue("Require-Bundle"));
        assertEquals(null, manifest.getValue("DynamicImport-Package"));
    }

    @Test
    void everyBundleHasItsRow() throws IOException {
        Set<String> rows =
                ARROWS.lines()
                        .filter(line -> !line.startsWith("#"))
                        .map(line -> "io.blockwharf." + line.substring(0, line.indexOf(' ')))
                        .collect(Collectors.toCollection(TreeSet::new));
        try (var folders = Files.list(BUNDLES)) {
            assertEquals(
                    rows,
                    folders.filter(folder -> Files.exists(folder.resolve("bnd.bnd")))
                            .map(folder -> folder.getFileName().toString())
                            .collect(Collectors.toCollection(TreeSet::new)));
        }
    }

    /** The framework, its services, and what the JDK brings. */
    private static boolean isPlatform(String name) {
        return name.startsWith("org.osgi.") || name.startsWith("javax.");
    }

    private static boolean within(String name, String packageName) {
        return name.equals(packageName) || name.startsWith(packageName + ".");
    }

    private static Stream<String> words(String cell) {
        return cell == null ? Stream.empty() : Arrays.stream(cell.split(" "));
    }

    private static Attributes manifest(String bundle) throws IOException {
        Path target = BUNDLES.resolve("io.blockwharf." + bundle + "/target");
        try (var files = Files.newDirectoryStream(target, "io.blockwharf.*[0-9T].jar");
                JarFile jar = new JarFile(files.iterator().next().toFile())) {
            return jar.getManifest().getMainAttributes();
        }
    }

    /** The names in a header, without attributes and directives. */
    private static Set<String> packages(Attributes manifest, String header) {
        String value = manifest.getValue(header);
        if (value == null) {
            return Set.of();
        }
        return Arrays.stream(value.replaceAll("\"[^\"]*\"", "").split(","))
                .flatMap(clause -> Arrays.stream(clause.split(";")))
                .filter(part -> !part.contains("="))
                .collect(Collectors.toCollection(TreeSet::new));
    }
}
