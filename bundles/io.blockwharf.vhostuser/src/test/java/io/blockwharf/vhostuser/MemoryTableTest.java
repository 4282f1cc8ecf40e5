package io.blockwharf.vhostuser;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.blockwharf.api.block.IoVector;
import io.blockwharf.linux.LinuxException;
import io.blockwharf.linux.MemFd;
import io.blockwharf.vhostuser.wire.Request.MemoryRegion;

import org.junit.jupiter.api.Test;

import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.Collections;
import java.util.OptionalLong;
import java.util.Random;

/** vhost-user specification, "Memory region description". */
class MemoryTableTest {
    private static final int PAGE = 4096;

    @Test
    void addressesAreTranslated() throws Exception {
        try (var file = MemFd.create("guest", 3 * PAGE);
                var whole = file.map(3 * PAGE)) {
            whole.segment().set(ValueLayout.JAVA_INT, PAGE + 8, 42);
            var table =
                    MemoryTable.EMPTY.with(
                            new MemoryRegion(0x10_0000, 2 * PAGE, 0x7000_0000, PAGE), file.fd());

            assertEquals(OptionalLong.of(0x10_0008), table.guestAddress(0x7000_0008));
            assertEquals(OptionalLong.empty(), table.guestAddress(0x7000_0000 - 1));
            assertEquals(OptionalLong.empty(), table.guestAddress(0x7000_0000 + 2 * PAGE));

            try (Arena arena = Arena.ofConfined()) {
                var vector = new IoVector(arena, 2);
                assertTrue(table.view().append(0x10_0008, 4, true, vector));
                assertEquals(42, vector.base(0).get(ValueLayout.JAVA_INT, vector.offset(0)));
                assertFalse(table.view().append(0x10_0000 + 2 * PAGE - 4, 8, true, vector.clear()));
            }
            table.retire(MemoryTable.EMPTY);
        }
    }

    @Test
    void regionsComeAndGoOneByOne() throws Exception {
        try (var file = MemFd.create("guest", 2 * PAGE)) {
            var first = new MemoryRegion(0, PAGE, 0x1000_0000, 0);
            var second = new MemoryRegion(PAGE, PAGE, 0x2000_0000, PAGE);
            var one = MemoryTable.EMPTY.with(first, file.fd());
            var two = one.with(second, file.fd());
            assertEquals(OptionalLong.of(PAGE), two.guestAddress(0x2000_0000));

            // The offset of the message is to be ignored.
            var rest = two.without(new MemoryRegion(0, PAGE, 0x1000_0000, 77));
            two.retire(rest);
            assertEquals(OptionalLong.empty(), rest.guestAddress(0x1000_0000));
            assertEquals(OptionalLong.of(PAGE), rest.guestAddress(0x2000_0000));
            assertThrows(IllegalArgumentException.class, () -> rest.without(first));
            rest.retire(MemoryTable.EMPTY);
        }
    }

    /** As many slots as QEMU has, of more than 2 GiB together and one of them alone. */
    @Test
    void hundredsOfSlotsAndMoreThanTwoGigabytes() throws Exception {
        long large = 5L << 30;
        try (var file = MemFd.create("guest", large + 509 * PAGE);
                Arena arena = Arena.ofConfined()) {
            var slots = new ArrayList<MemoryRegion>();
            for (int i = 0; i < 508; i++) { // with holes in between
                slots.add(new MemoryRegion(2L * i * PAGE, PAGE, 4L * i * PAGE, large + i * PAGE));
            }
            slots.add(new MemoryRegion(1L << 62, large, 1L << 61, 0));
            Collections.shuffle(slots, new Random(1));
            var table = MemoryTable.EMPTY;
            for (var slot : slots) {
                table = table.with(slot, file.fd());
            }
            var memory = table.view();
            var vector = new IoVector(arena, 2);
            for (var slot : slots) {
                long last = slot.guestAddress() + slot.size() - 1;
                assertTrue(memory.append(slot.guestAddress(), 1, true, vector.clear()));
                assertTrue(memory.append(last, 1, true, vector.clear()));
                vector.base(0).set(ValueLayout.JAVA_BYTE, vector.offset(0), (byte) 42);
                assertFalse(memory.append(last + 1, 1, true, vector.clear()), "" + slot);
                assertFalse(memory.append(slot.guestAddress() - 1, 1, true, vector.clear()));
            }
            assertFalse(memory.append(-1, 1, true, vector.clear()));
            try (var bytes = file.map(large + 509 * PAGE)) {
                assertEquals(42, bytes.segment().get(ValueLayout.JAVA_BYTE, large - 1));
            }
            table.retire(MemoryTable.EMPTY);
        }
    }

    /** Sparse memory is as large as a front end likes; the addresses of this process are not. */
    @Test
    void aFrontEndCannotTakeAllAddresses() throws Exception {
        long half = MemoryTable.MAX_BYTES / 2;
        try (var file = MemFd.create("guest", half)) {
            var table =
                    MemoryTable.EMPTY
                            .with(new MemoryRegion(0, half, 0, 0), file.fd())
                            .with(new MemoryRegion(half, half, half, 0), file.fd());
            var more = new MemoryRegion(2 * half, PAGE, 2 * half, 0);
            assertThrows(IllegalArgumentException.class, () -> table.with(more, file.fd()));
            table.retire(MemoryTable.EMPTY);
        }
    }

    @Test
    void whatCannotBeSharedIsRefused() throws Exception {
        try (var file = MemFd.create("guest", 2 * PAGE)) {
            var table = MemoryTable.EMPTY.with(new MemoryRegion(PAGE, PAGE, PAGE, 0), file.fd());
            for (var bad :
                    new MemoryRegion[] {
                        new MemoryRegion(2 * PAGE - 1, PAGE, 0x5000_0000, 0), // overlaps its end
                        new MemoryRegion(0, PAGE + 1, 0x5000_0000, 0), // overlaps its beginning
                        new MemoryRegion(PAGE, PAGE, 0x5000_0000, 0),
                        new MemoryRegion(8 * PAGE, 0, 0x5000_0000, 0),
                        new MemoryRegion(8 * PAGE, -PAGE, 0x5000_0000, 0),
                        new MemoryRegion(-PAGE, 2 * PAGE, 0x5000_0000, 0), // wraps around
                        new MemoryRegion(8 * PAGE, 2 * PAGE, -PAGE, 0),
                    }) {
                assertThrows(
                        IllegalArgumentException.class, () -> table.with(bad, file.fd()), "" + bad);
            }
            assertThrows(
                    LinuxException.class,
                    () -> table.with(new MemoryRegion(8 * PAGE, PAGE, 0x5000_0000, -1), file.fd()));
            table.retire(MemoryTable.EMPTY);
        }
    }
}
