package io.blockwharf.vhostuser;

import static org.junit.jupiter.api.Assertions.assertEquals;

import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;

/** vhost-user specification, "Migration": a bit for each page. */
class PageLogTest {
    private static final int PAGES = 256;

    @ParameterizedTest(name = "{0}+{1}: pages {2} to {3}")
    @CsvSource(
            delimiter = '|',
            textBlock =
                    """
                    0       | 1       | 0   | 0
                    4095    | 1       | 0   | 0
                    4095    | 2       | 0   | 1
                    4096    | 4096    | 1   | 1
                    258048  | 4096    | 63  | 63
                    258048  | 4097    | 63  | 64
                    262144  | 262144  | 64  | 127
                    262144  | 262145  | 64  | 128
                    4096    | 1040384 | 1   | 254
                    1044480 | 99999   | 255 | 255
                    1048576 | 4096    | 1   | 0
                    -4096   | 4096    | 1   | 0
                    0       | 0       | 1   | 0
                    """)
    void pagesAreMarked(long address, long length, int first, int last) {
        try (Arena arena = Arena.ofConfined()) {
            var bits = arena.allocate(PAGES / 8, 8);
            new PageLog(bits).written(address, length);
            for (int page = 0; page < PAGES; page++) {
                int bit = bits.get(ValueLayout.JAVA_BYTE, page / 8) >> page % 8 & 1;
                assertEquals(page >= first && page <= last ? 1 : 0, bit, "page " + page);
            }
        }
    }
}
