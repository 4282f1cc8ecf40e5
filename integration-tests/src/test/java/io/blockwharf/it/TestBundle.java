package io.blockwharf.it;

import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.Map;
import java.util.jar.Attributes;
import java.util.jar.JarOutputStream;
import java.util.jar.Manifest;
import java.util.zip.ZipEntry;

/** Makes a bundle of one class of the tests: its activator. */
final class TestBundle {
    private TestBundle() {}

    /** Puts it in place with one rename, as one should in a folder that is watched. */
    static Path write(
            Path jar, String symbolicName, Class<?> activator, Map<String, String> headers)
            throws IOException {
        Manifest manifest = new Manifest();
        Attributes main = manifest.getMainAttributes();
        main.put(Attributes.Name.MANIFEST_VERSION, "1.0");
        main.putValue("Bundle-ManifestVersion", "2");
        main.putValue("Bundle-SymbolicName", symbolicName);
        main.putValue("Bundle-Activator", activator.getName());
        main.putValue("Import-Package", "org.osgi.framework");
        headers.forEach(main::putValue);
        Path draft = jar.resolveSibling(jar.getFileName() + ".tmp");
        String file = activator.getName().replace('.', '/') + ".class";
        try (OutputStream out = Files.newOutputStream(draft);
                JarOutputStream entries = new JarOutputStream(out, manifest);
                InputStream code = activator.getClassLoader().getResourceAsStream(file)) {
            entries.putNextEntry(new ZipEntry(file));
            code.transferTo(entries);
            entries.closeEntry();
        }
        return Files.move(draft, jar, StandardCopyOption.ATOMIC_MOVE);
    }
}
