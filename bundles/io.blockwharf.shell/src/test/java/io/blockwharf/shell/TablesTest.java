package io.blockwharf.shell;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;

import org.apache.felix.service.command.Converter;
import org.junit.jupiter.api.Test;

import java.util.List;
import java.util.Optional;

class TablesTest {
    /** A row. */
    public record Row(String name, boolean readOnly, Optional<String> note) {}

    private final Tables tables = new Tables();

    @Test
    void recordsOfOneKindAreATable() {
        assertEquals(
                """
                NAME    READ-ONLY  NOTE
                a       yes        -
                longer  no         x y\
                """,
                tables.format(
                                List.of(
                                        new Row("a", true, Optional.empty()),
                                        new Row("longer", false, Optional.of("x y"))),
                                Converter.INSPECT,
                                null)
                        .toString());
    }

    @Test
    void oneRecordIsATableOfOneRow() {
        assertEquals(
                "NAME  READ-ONLY  NOTE\na     yes        -",
                tables.format(new Row("a", true, Optional.empty()), Converter.LINE, null)
                        .toString());
    }

    @Test
    void everythingElseIsLeftToOthers() {
        assertNull(tables.format(List.of(), Converter.INSPECT, null));
        assertNull(tables.format(List.of("a", "b"), Converter.INSPECT, null));
        assertNull(tables.format("a", Converter.INSPECT, null));
        assertNull(tables.convert(String.class, new Row("a", true, Optional.empty())));
    }
}
