package io.blockwharf.launcher;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;

/** Pass 1 takes its own options, in all spellings of getopt_long, and nothing else. */
class OptionsTest {
    @ParameterizedTest(name = "{0} -> {1}, rest {2}")
    @CsvSource(
            delimiter = '|',
            textBlock =
                    """
                    -h                                   | help      |
                    --help                               | help      |
                    --he                                 | help      |
                    -V                                   | version   |
                    -Vh                                  | version   |
                    -hV                                  | help      |
                    -Tnbd*                               | nothing   | -Tnbd*
                    --vers                               | version   |
                    --daemonize --blockdev x             | daemonize | --blockdev x
                    --daem                               | daemonize |
                    --pidfile p                          | pid=p     |
                    --pidfile=p --export e               | pid=p     | --export e
                    --pid p                              | pid=p     |
                    --pidfile=a --pidfile b              | pid=b     |
                    --blockdev --help                    | nothing   | --blockdev --help
                    --obj --daemonize                    | nothing   | --obj --daemonize
                    -T --version                         | nothing   | -T --version
                    --export=fuse --pidfile p            | pid=p     | --export=fuse
                    --chardev                            | nothing   | --chardev
                    --bogus stray -x                     | nothing   | --bogus stray -x
                    -- --help                            | nothing   | -- --help
                    --d=x                                | fails     |
                    """)
    void spellings(String line, String expected, String rest) {
        List<String> args = List.of(line.split(" "));
        if (expected.equals("fails")) {
            assertThrows(StartException.class, () -> Options.parse(args));
            return;
        }
        Options options = Options.parse(args);
        assertEquals(expected.equals("help"), options.help());
        assertEquals(expected.equals("version"), options.version());
        assertEquals(expected.equals("daemonize"), options.daemonize());
        assertEquals(
                expected.startsWith("pid=")
                        ? Optional.of(Path.of(expected.substring(4)))
                        : Optional.empty(),
                options.pidFile());
        assertEquals(rest == null ? List.of() : Arrays.asList(rest.split(" ")), options.rest());
    }

    @Test
    void helpNamesEveryOption() {
        for (String option :
                List.of(
                        "help",
                        "version",
                        "daemonize",
                        "pidfile",
                        "blockdev",
                        "chardev",
                        "export",
                        "monitor",
                        "nbd-server",
                        "object",
                        "shell")) {
            assertTrue(Options.USAGE.contains("--" + option), option);
        }
    }
}
