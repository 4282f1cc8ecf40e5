package io.blockwharf.linux;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import static java.lang.foreign.ValueLayout.JAVA_INT;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Set;

/** Character devices, mounts and inherited descriptors; needs root and /dev/fuse. */
@Timeout(120)
class DeviceTest {
    private static final String FUSE_OPTIONS = "rootmode=40000,user_id=0,group_id=0";

    /** include/uapi/linux/fuse.h. */
    private static final int FUSE_INIT = 26;

    private final Arena arena = Arena.ofAuto();

    /** open(2): no access to the file itself. */
    private static final int O_PATH = 0x200000;

    @TempDir Path directory;

    @Test
    void aDeviceIsReadWrittenAndControlled() throws IOException {
        MemorySegment memory = arena.allocate(8).fill((byte) 1);
        try (CharDevice zero = CharDevice.open("/dev/zero")) {
            assertEquals(8, zero.read(memory, 0, 8));
            assertEquals(-1, memory.mismatch(arena.allocate(8)));
            assertEquals(8, zero.write(memory, 0, 8));
            IoVec list = new IoVec(2);
            list.add(memory, 0, 2);
            list.add(memory, 4, 2);
            assertEquals(4, zero.write(list));
            assertTrue(list.isEmpty());
            LinuxException e =
                    assertThrows(
                            LinuxException.class, () -> zero.ioctl(0x12345678, 0, "ioctl TEST"));
            assertEquals("ioctl TEST: Inappropriate ioctl for device", e.getMessage());
        }
        assertEquals(
                "Failed to open /dev/none: No such file or directory",
                assertThrows(LinuxException.class, () -> CharDevice.open("/dev/none"))
                        .getMessage());
    }

    @Test
    void anIoctlFillsItsStructure() throws IOException {
        FdSocket[] pair = FdSocket.pair();
        try (FdSocket a = pair[0];
                CharDevice b = CharDevice.of(pair[1].release())) {
            a.sendAll(arena.allocate(5), 0, 5, 0);
            MemorySegment number = arena.allocate(4);
            b.ioctl(0x541b, number, "ioctl FIONREAD");
            assertEquals(5, number.get(JAVA_INT, 0));
            b.blocking(false);
            assertEquals(5, b.read(arena.allocate(8), 0, 8));
            assertEquals(CharDevice.WOULD_BLOCK, b.read(arena.allocate(8), 0, 8));
        }
    }

    private static boolean isMounted(Path path) throws IOException {
        return Files.readAllLines(Path.of("/proc/self/mounts")).stream()
                .anyMatch(line -> line.split(" ")[1].equals(path.toString()));
    }

    private void assertServesFuse(CharDevice device) throws IOException {
        MemorySegment request = arena.allocate(1 << 17);
        assertTrue(device.read(request, 0, request.byteSize()) >= 40);
        assertEquals(FUSE_INIT, request.get(JAVA_INT, 4));
    }

    @Test
    void aFileSystemIsMountedAndUnmounted() throws IOException {
        try (CharDevice device = CharDevice.open("/dev/fuse");
                Mount mount =
                        Mount.mount(
                                "test",
                                directory.toString(),
                                "fuse",
                                Set.of(Mount.Flag.NO_SET_UID, Mount.Flag.NO_DEVICES),
                                "fd=" + device.fd() + "," + FUSE_OPTIONS)) {
            assertTrue(isMounted(directory));
            assertServesFuse(device);
            mount.unmount();
            assertFalse(isMounted(directory));
            mount.unmount();
            assertTrue(
                    assertThrows(
                                    LinuxException.class,
                                    () -> device.read(arena.allocate(1 << 17), 0, 1 << 17))
                            .is(Errnos.ENODEV));
        }
    }

    @Test
    void memoryThatAProcessMayHoldBackIsNotMapped() throws IOException {
        // Of somebody else for himself alone: the kernel answers us, for there is no server
        String options = ",rootmode=40000,user_id=12345,group_id=12345";
        try (CharDevice device = CharDevice.open("/dev/fuse");
                Mount _ =
                        Mount.mount(
                                "test",
                                directory.toString(),
                                "fuse",
                                Set.of(Mount.Flag.NO_SET_UID, Mount.Flag.NO_DEVICES),
                                "fd=" + device.fd() + options);
                Descriptor root =
                        new Descriptor(Descriptor.open(directory.toString(), O_PATH, 0))) {
            LinuxException e =
                    assertThrows(
                            LinuxException.class,
                            () ->
                                    MappedRegion.mapReceived(
                                            root.fd(), 0, 4096, MappedRegion.Access.READ));
            assertTrue(e.is(Errnos.EOPNOTSUPP), e.getMessage());
        }
    }

    @Test
    void aConnectionEndsWhereverItIsMounted() throws IOException {
        try (CharDevice device = CharDevice.open("/dev/fuse");
                Mount _ =
                        Mount.mount(
                                "test",
                                directory.toString(),
                                "fuse",
                                Set.of(Mount.Flag.NO_SET_UID, Mount.Flag.NO_DEVICES),
                                "fd=" + device.fd() + "," + FUSE_OPTIONS)) {
            int minor = minorOf(directory);
            try (FuseConnection connection = FuseConnection.find(0, minor)) {
                assertServesFuse(device);
                connection.abort();
                assertTrue(
                        assertThrows(
                                        LinuxException.class,
                                        () -> device.read(arena.allocate(1 << 17), 0, 1 << 17))
                                .is(Errnos.ENODEV));
                connection.abort();
            }
            assertTrue(isMounted(directory), "only the connection has ended");
        }
        LinuxException none =
                assertThrows(LinuxException.class, () -> FuseConnection.find(0, (1 << 20) - 1));
        assertTrue(none.is(Errnos.ENOENT), none.getMessage());
    }

    /** Of the device number: third field of proc(5), mountinfo; nothing asks the file system. */
    private static int minorOf(Path path) throws IOException {
        String line =
                Files.readAllLines(Path.of("/proc/self/mountinfo")).stream()
                        .filter(l -> l.split(" ")[4].equals(path.toString()))
                        .findFirst()
                        .orElseThrow();
        return Integer.parseInt(line.split(" ")[2].split(":")[1]);
    }

    @Test
    void fusermountHandsTheDeviceOver() throws IOException {
        Mount.Fuse fuse = Mount.fusermount(directory.toString(), "fsname=test,nosuid,nodev");
        try (CharDevice device = fuse.device();
                Mount mount = fuse.mount()) {
            assertTrue(isMounted(directory));
            assertServesFuse(device);
            mount.unmount();
            assertFalse(isMounted(directory));
        }
    }

    @Test
    void aRefusedMountLeavesNothing() {
        LinuxException e =
                assertThrows(
                        LinuxException.class,
                        () -> Mount.fusermount("/nonexistent", "fsname=test"));
        assertEquals("fusermount3 /nonexistent: Operation not permitted", e.getMessage());
        assertThrows(
                LinuxException.class,
                () -> Mount.mount("test", directory.toString(), "nosuchfs", Set.of(), ""));
    }

    @Test
    void detachingWhatIsNotMountedIsFine() throws IOException {
        Mount.detach(directory.toString());
        assertThrows(LinuxException.class, () -> Mount.detach("/nonexistent"));
    }

    @Test
    void anInheritedDescriptorMustBeOpen() throws IOException {
        LinuxException e = assertThrows(LinuxException.class, () -> InheritedFd.take(9999));
        assertEquals("File descriptor 9999 is not open: Bad file descriptor", e.getMessage());
        FdSocket[] pair = FdSocket.pair();
        try (FdSocket a = pair[0];
                FdSocket b = pair[1]) {
            InheritedFd inherited = InheritedFd.take(a.fd());
            assertTrue(inherited.isSocket());
            assertFalse(inherited.isListening());
            assertFalse(inherited.isTerminal());
            assertTrue(b.fd() >= 0);
        }
        try (HostFile file = HostFile.open("/dev/null")) {
            assertFalse(new InheritedFd(file.fd()).isSocket());
            assertThrows(LinuxException.class, () -> FdSocket.of(file.fd()));
        }
    }
}
