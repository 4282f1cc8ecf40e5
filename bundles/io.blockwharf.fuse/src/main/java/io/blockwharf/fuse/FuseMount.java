package io.blockwharf.fuse;

import static java.lang.foreign.ValueLayout.JAVA_INT;

import io.blockwharf.api.qmp.QmpException;
import io.blockwharf.fuse.wire.Attributes;
import io.blockwharf.fuse.wire.Init;
import io.blockwharf.fuse.wire.Opcode;
import io.blockwharf.fuse.wire.Reply;
import io.blockwharf.fuse.wire.Request;
import io.blockwharf.linux.CharDevice;
import io.blockwharf.linux.Credentials;
import io.blockwharf.linux.Errnos;
import io.blockwharf.linux.FuseConnection;
import io.blockwharf.linux.HostFile;
import io.blockwharf.linux.LinuxException;
import io.blockwharf.linux.Mount;
import io.blockwharf.linux.Poll;

import org.osgi.service.log.Logger;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;

/**
 * A file mounted on a regular file, and the connection to the kernel through which it is served:
 * mounted and past INIT when it is made, unmounted when it is closed. Any thread may use it that
 * does not serve it.
 *
 * <p>Nothing here looks at the mounted file itself: that would ask the daemon.
 */
final class FuseMount implements AutoCloseable {
    /** Upper bound of one read or write: what the kernel allows without more privileges. */
    static final int MAX_TRANSFER = 1 << 20;

    private static final long FUSE_DEV_IOC_CLONE = 0x8004e500L;
    private static final int BUFFER_BYTES = Request.WRITE_HEADER_BYTES + MAX_TRANSFER;
    private static final int INIT_PATIENCE_MILLIS = 10_000;
    private static final String DEVICE = "/dev/fuse";

    /** What {@code df} and {@code mount} show. */
    private static final String NAME = "blockwharf";

    private final Mount mount;
    private final String fileSystem;
    private final CharDevice device;
    private final boolean allowOther;
    private final boolean privileged;
    private final Init.Agreement agreement;
    private final Logger log;
    private final List<CharDevice> clones = new ArrayList<>();

    private FuseMount(
            Mounted mounted,
            String fileSystem,
            boolean allowOther,
            Init.Agreement agreement,
            Logger log) {
        mount = mounted.mount;
        device = mounted.device;
        privileged = mounted.privileged;
        this.fileSystem = fileSystem;
        this.allowOther = allowOther;
        this.agreement = agreement;
        this.log = log;
    }

    private record Mounted(Mount mount, CharDevice device, boolean privileged)
            implements AutoCloseable {
        @Override
        public void close() {
            mount.close();
            device.close();
        }
    }

    /**
     * Where a mountpoint really is.
     *
     * @throws QmpException if it is not an existing regular file, with an explanation if what is
     *     wrong is the mount of a daemon that has died
     */
    static String locate(String mountpoint) {
        try {
            if (HostFile.kind(mountpoint) != HostFile.Kind.REGULAR) {
                throw QmpException.generic("'%s' is not a regular file", mountpoint);
            }
            return Path.of(mountpoint).toRealPath().toString();
        } catch (LinuxException e) {
            String hint =
                    e.is(Errnos.ENOTCONN)
                            ? " (a FUSE server that has died left its mount there: unmount it with"
                                    + " 'umount' or 'fusermount3 -u')"
                            : "";
            throw new QmpException(e.getMessage() + hint, e);
        } catch (IOException e) {
            throw new QmpException("Failed to stat '" + mountpoint + "': " + e.getMessage(), e);
        }
    }

    /**
     * Mounts.
     *
     * @param target an existing regular file, links resolved
     * @param wanted flags of {@link Init} to ask for
     * @throws QmpException with nothing left mounted
     */
    static FuseMount mount(
            String target, boolean writable, FuseExportAllowOther others, long wanted, Logger log) {
        if (others == FuseExportAllowOther.AUTO) {
            try {
                return mount(target, writable, true, wanted, log);
            } catch (QmpException e) {
                return mount(target, writable, false, wanted, log);
            }
        }
        return mount(target, writable, others == FuseExportAllowOther.ON, wanted, log);
    }

    private static FuseMount mount(
            String target, boolean writable, boolean allowOther, long wanted, Logger log) {
        Mounted mounted = mount(target, writable, allowOther);
        try {
            return new FuseMount(
                    mounted, fileSystemAt(target), allowOther, agree(mounted, wanted), log);
        } catch (IOException e) {
            mounted.close();
            throw new QmpException("Failed to set up FUSE session: " + e.getMessage(), e);
        }
    }

    private static Mounted mount(String target, boolean writable, boolean allowOther) {
        String options = "default_permissions,max_read=" + MAX_TRANSFER;
        options += allowOther ? ",allow_other" : "";
        Credentials self = Credentials.ofThisProcess();
        Set<Mount.Flag> flags =
                EnumSet.of(Mount.Flag.NO_SET_UID, Mount.Flag.NO_DEVICES, Mount.Flag.NO_ACCESS_TIME);
        if (!writable) {
            flags.add(Mount.Flag.READ_ONLY);
        }
        CharDevice device;
        try {
            device = CharDevice.open(DEVICE); // fusermount3 opens it as this user, too
        } catch (LinuxException e) {
            throw new QmpException("Failed to set up FUSE session: " + e.getMessage(), e);
        }
        try {
            Mount mount =
                    Mount.mount(
                            NAME,
                            target,
                            "fuse." + NAME,
                            flags,
                            "fd=%d,rootmode=100000,user_id=%d,group_id=%d,%s"
                                    .formatted(device.fd(), self.uid(), self.gid(), options));
            return new Mounted(mount, device, true);
        } catch (LinuxException e) {
            device.close();
            if (!e.is(Errnos.EPERM)) {
                throw failed(e);
            }
        }
        try {
            Mount.Fuse fuse =
                    Mount.fusermount(
                            target,
                            options
                                    + ",noatime,subtype="
                                    + NAME
                                    + ",fsname="
                                    + NAME
                                    + (writable ? ",rw" : ",ro"));
            return new Mounted(fuse.mount(), fuse.device(), false);
        } catch (LinuxException e) {
            throw failed(e);
        }
    }

    private static QmpException failed(LinuxException e) {
        return new QmpException("Failed to mount FUSE session to export: " + e.getMessage(), e);
    }

    private static String fileSystemAt(String target) throws IOException {
        return MountTable.at(target)
                .map(MountTable.Entry::device)
                .orElseThrow(() -> new IOException("'" + target + "' is not mounted"));
    }

    /** Answers the kernel's INIT, which is the first request. */
    private static Init.Agreement agree(Mounted mounted, long wanted) throws IOException {
        CharDevice device = mounted.device;
        // Threads that wait in a ring end only when the connection is aborted.
        long possible = mounted.privileged ? wanted : wanted & ~Init.OVER_IO_URING;
        Poll poll = new Poll(1);
        poll.set(0, device.fd(), Poll.IN);
        if (poll.await(INIT_PATIENCE_MILLIS) == 0) {
            throw new IOException("the kernel does not begin");
        }
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment buffer = arena.allocate(BUFFER_BYTES, 8);
            long length = device.read(buffer, 0, BUFFER_BYTES);
            Request request = new Request();
            if (!request.onDevice(buffer, 0, length) || request.opcode() != Opcode.INIT) {
                throw new IOException("the kernel does not begin with INIT");
            }
            Init.Offer offer = request.offer();
            if (!offer.acceptable()) {
                throw new IOException(
                        "the kernel's FUSE protocol %d.%d is too old"
                                .formatted(offer.major(), offer.minor()));
            }
            Init.Agreement agreement = offer.accept(MAX_TRANSFER, possible);
            MemorySegment reply = arena.allocate(Reply.HEADER_BYTES + Reply.MAX_BODY_BYTES, 8);
            int body = Reply.init(reply, Reply.HEADER_BYTES, agreement);
            Reply.header(reply, 0, body, 0, request.unique());
            device.write(reply, 0, Reply.HEADER_BYTES + body);
            return agreement;
        }
    }

    /** The descriptor that the file system was mounted with; stays the mount's. */
    CharDevice device() {
        return device;
    }

    /** Another descriptor for the same connection; stays the mount's. */
    CharDevice cloneDevice() throws LinuxException {
        CharDevice clone = CharDevice.open(DEVICE);
        clones.add(clone);
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment original = arena.allocate(4, 4);
            original.set(JAVA_INT, 0, device.fd());
            clone.ioctl(FUSE_DEV_IOC_CLONE, original, "FUSE_DEV_IOC_CLONE");
        }
        return clone;
    }

    /** Whether other users may use the file. */
    boolean allowOther() {
        return allowOther;
    }

    /** Whether mount(2) was allowed, so that {@link #abort} ends the connection for sure. */
    boolean privileged() {
        return privileged;
    }

    /** What was agreed on with the kernel. */
    Init.Agreement agreement() {
        return agreement;
    }

    String target() {
        return mount.target();
    }

    /** Makes the kernel ask for the size and times of the file before it uses them again. */
    void invalidate() {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment message = arena.allocate(Reply.INVALIDATION_BYTES, 8);
            device.write(message, 0, Reply.invalidation(message, 0, Attributes.INODE));
        } catch (LinuxException e) {
            // ENOENT: the kernel has not looked at the file yet. Else the connection has ended.
            log.debug("Not invalidated: {}", e.getMessage());
        }
    }

    /**
     * Where this file is to be seen now: at the mountpoint, or somewhere else if a directory above
     * it was renamed; nowhere if it was unmounted or something else lies over it.
     */
    Optional<String> place() {
        try {
            Optional<String> place =
                    MountTable.placeOf(MountTable.read(), fileSystem, mount.target());
            place.ifPresent(mount::moved);
            return place;
        } catch (IOException e) {
            return Optional.empty();
        }
    }

    /** Ends the connection and unmounts, whoever uses the file. Idempotent. */
    void abort() {
        try {
            if (place().isPresent()) {
                mount.abort();
            } else if (privileged && connected()) {
                abortOutOfReach();
            }
        } catch (LinuxException e) {
            log.warn("{}", e.getMessage());
        }
    }

    /** Something lies over it, or it was unmounted lazily and is in use: nothing to name it by. */
    private void abortOutOfReach() throws LinuxException {
        String[] numbers = fileSystem.split(":");
        try (FuseConnection connection =
                FuseConnection.find(Integer.parseInt(numbers[0]), Integer.parseInt(numbers[1]))) {
            if (connected()) { // so the number is still this one's
                connection.abort();
                log.warn(
                        "The FUSE file {} has ended, but cannot be unmounted: it is out of reach",
                        mount.target());
            }
        }
    }

    private boolean connected() throws LinuxException {
        Poll poll = new Poll(1);
        poll.set(0, device.fd(), 0);
        poll.await(0);
        return device.fd() >= 0 && (poll.events(0) & Poll.ERR) == 0; // fs/fuse: fuse_dev_poll
    }

    /** Unmounts and lets go of the devices; when nobody reads them. Idempotent. */
    @Override
    public void close() {
        abort();
        clones.forEach(CharDevice::close);
        device.close();
    }
}
