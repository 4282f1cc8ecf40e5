package io.blockwharf.fuse;

import static org.junit.jupiter.api.Assertions.assertEquals;

import org.junit.jupiter.api.Test;

import java.util.List;
import java.util.Optional;

/** proc(5), /proc/PID/mountinfo. */
final class MountTableTest {
    @Test
    void entriesWithAndWithoutOptionalFields() {
        assertEquals(
                List.of(
                        new MountTable.Entry("98:0", "/mnt2", "ext3"),
                        new MountTable.Entry("0:39", "/a b\\c\nä", "fuse.blockwharf")),
                MountTable.parse(
                        """
                        36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 shared:2 - ext3 /dev/root rw
                        37 35 0:39 / /a\\040b\\134c\\012\u00c3\u00a4 rw - fuse.blockwharf blockwharf rw
                        nonsense
                        """));
    }

    @Test
    void aFileSystemIsWhereNothingLiesOverIt() {
        List<MountTable.Entry> table =
                List.of(
                        new MountTable.Entry("0:1", "/a", "fuse.blockwharf"),
                        new MountTable.Entry("0:2", "/b", "fuse.blockwharf"),
                        new MountTable.Entry("0:1", "/c", "fuse.blockwharf"),
                        new MountTable.Entry("0:3", "/b", "tmpfs"));
        assertEquals(Optional.of("/a"), MountTable.placeOf(table, "0:1", "/a"));
        assertEquals(Optional.of("/c"), MountTable.placeOf(table, "0:1", "/c"));
        assertEquals(Optional.of("/a"), MountTable.placeOf(table, "0:1", "/old"), "it was moved");
        assertEquals(Optional.empty(), MountTable.placeOf(table, "0:2", "/b"), "it is covered");
        assertEquals(Optional.empty(), MountTable.placeOf(table, "0:4", "/b"), "it is gone");
    }
}
