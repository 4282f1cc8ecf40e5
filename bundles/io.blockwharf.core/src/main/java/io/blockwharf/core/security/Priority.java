package io.blockwharf.core.security;

import io.blockwharf.api.qmp.QmpException;

import java.util.LinkedHashSet;
import java.util.Optional;
import java.util.Set;

/**
 * The part of GnuTLS's priority strings that says which versions of the protocol may be used.
 * Cipher suites are the JDK's to choose ({@code jdk.tls.disabledAlgorithms}).
 */
final class Priority {
    private static final Set<String> BASES =
            Set.of(
                    "NORMAL",
                    "SECURE128",
                    "SECURE192",
                    "SECURE256",
                    "PFS",
                    "@SYSTEM",
                    "@QEMU,NORMAL");

    private Priority() {}

    /** The versions by the JDK's names. */
    static String[] parse(Optional<String> priority) {
        Set<String> versions = new LinkedHashSet<>(Set.of("TLSv1.2", "TLSv1.3"));
        if (priority.isEmpty()) {
            return versions.toArray(String[]::new);
        }
        String[] tokens = priority.get().split(":");
        if (!BASES.contains(tokens[0])) {
            throw unsupported(priority.get());
        }
        for (int i = 1; i < tokens.length; i++) {
            switch (tokens[i]) {
                case "-VERS-ALL", "-VERS-TLS-ALL" -> versions.clear();
                case "-VERS-TLS1.2" -> versions.remove("TLSv1.2");
                case "-VERS-TLS1.3" -> versions.remove("TLSv1.3");
                case "+VERS-TLS1.2" -> versions.add("TLSv1.2");
                case "+VERS-TLS1.3" -> versions.add("TLSv1.3");
                case "-VERS-TLS1.0", "-VERS-TLS1.1", "-VERS-SSL3.0" -> {} // never
                default -> throw unsupported(priority.get());
            }
        }
        if (versions.isEmpty()) {
            throw unsupported(priority.get());
        }
        return versions.toArray(String[]::new);
    }

    private static QmpException unsupported(String priority) {
        return QmpException.generic(
                "Unable to set TLS session priority %s: only versions 1.2 and 1.3 can be chosen",
                priority);
    }
}
