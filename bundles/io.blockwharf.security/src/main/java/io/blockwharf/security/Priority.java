package io.blockwharf.security;

import io.blockwharf.api.qmp.QmpException;

import java.util.Arrays;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;

/**
 * The part of GnuTLS's priority strings that can be honoured here: versions of the protocol and
 * ciphers. Everything else is refused, rather than passed over: whoever writes it wants it.
 *
 * @param versions by the JDK's names
 * @param ciphers as they stand in the names of cipher suites
 */
record Priority(Set<String> versions, Set<String> ciphers) {
    private static final List<String> VERSIONS = List.of("TLSv1.3", "TLSv1.2");

    private static final List<String> CIPHERS =
            List.of(
                    "AES_256_GCM",
                    "CHACHA20_POLY1305",
                    "AES_256_CBC",
                    "AES_128_GCM",
                    "AES_128_CBC");

    /** Keywords that a priority string begins with. */
    private static final Set<String> ALL = Set.of("NORMAL", "SECURE128", "PFS");

    private static final Set<String> LONG_KEYS = Set.of("SECURE192", "SECURE256");

    /** What cannot be had anyway, and so can be excluded. */
    private static final Set<String> NEVER =
            Set.of("VERS-SSL3.0", "VERS-TLS1.0", "VERS-TLS1.1", "VERS-DTLS-ALL", "3DES-CBC", "RSA");

    /** The key exchanges of pre-shared keys, which QEMU's users add by themselves. */
    private static final Set<String> SHARED_KEYS = Set.of("PSK", "DHE-PSK", "ECDHE-PSK");

    /**
     * Reads a string.
     *
     * @param priority empty: {@code NORMAL}; a name of the system's configuration ({@code @…})
     *     means the same, because there is none here
     * @param sharedKeys whether key exchanges with shared keys may be named
     * @throws QmpException if something in it cannot be honoured
     */
    static Priority parse(Optional<String> priority, boolean sharedKeys) {
        String text = priority.orElse("NORMAL");
        String[] words = text.split(":");
        Set<String> versions = new LinkedHashSet<>(VERSIONS);
        Set<String> ciphers = new LinkedHashSet<>(CIPHERS);
        if (LONG_KEYS.contains(words[0])) {
            ciphers.removeIf(cipher -> cipher.contains("128"));
        } else if (!ALL.contains(words[0]) && !words[0].startsWith("@")) {
            throw unsupported(text);
        }
        for (String word : Arrays.asList(words).subList(1, words.length)) {
            boolean add = word.startsWith("+");
            if (word.equals("%SERVER_PRECEDENCE")) {
                continue; // as it is
            } else if (!add && !word.startsWith("-") && !word.startsWith("!")) {
                throw unsupported(text);
            }
            String what = word.substring(1);
            boolean known =
                    switch (what) {
                        case "VERS-ALL", "VERS-TLS-ALL" -> change(versions, VERSIONS, add);
                        case "CIPHER-ALL" -> change(ciphers, CIPHERS, add);
                        default ->
                                one(versions, VERSIONS, what.replace("VERS-TLS", "TLSv"), add)
                                        || one(ciphers, CIPHERS, what.replace('-', '_'), add)
                                        || !add && NEVER.contains(what)
                                        || sharedKeys && SHARED_KEYS.contains(what);
                    };
            if (!known) {
                throw unsupported(text);
            }
        }
        if (versions.isEmpty() || ciphers.isEmpty()) {
            throw unsupported(text);
        }
        return new Priority(versions, ciphers);
    }

    private static boolean one(Set<String> chosen, List<String> all, String what, boolean add) {
        return all.contains(what) && change(chosen, List.of(what), add);
    }

    private static boolean change(Set<String> chosen, List<String> what, boolean add) {
        if (add) {
            chosen.addAll(what);
        } else {
            chosen.removeAll(what);
        }
        return true;
    }

    private static QmpException unsupported(String priority) {
        return QmpException.generic(
                "Unable to set TLS session priority %s: only versions 1.2 and 1.3 and the ciphers"
                        + " AES-128-GCM, AES-256-GCM, CHACHA20-POLY1305, AES-128-CBC and"
                        + " AES-256-CBC can be chosen",
                priority);
    }

    /** Whether a cipher suite may be used, by its IANA name. */
    boolean allows(String suite) {
        return ciphers.stream().anyMatch(suite::contains);
    }
}
