package io.blockwharf.core.graph;

import io.blockwharf.api.block.BitmapStore;
import io.blockwharf.api.block.BlockDriver;
import io.blockwharf.api.block.BlockImage;
import io.blockwharf.api.block.BlockIoException;
import io.blockwharf.api.block.BlockLimits;
import io.blockwharf.api.block.BlockdevOptions;
import io.blockwharf.api.block.BlockdevOptions.DetectZeroes;
import io.blockwharf.api.block.Errno;
import io.blockwharf.api.block.IoVector;
import io.blockwharf.api.block.RequestFlags;
import io.blockwharf.api.qmp.QmpException;

import org.osgi.service.log.Logger;

import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.LongConsumer;

/**
 * A vertex of the block graph: an open image, the options that core carries out for it, its
 * children and its users. The edges are {@link NodeHandle}s. Everything that makes up the graph is
 * guarded by the control lock; what requests look at is volatile or final.
 */
public final class Node {
    private static final int SECTOR = 512;

    final String name;
    final String driverName;
    final BlockDriver<?> driver;

    /** What it was opened with, last. Guarded by the control lock. */
    BlockdevOptions given;

    /** By their names in the options. Guarded by the control lock. */
    final Map<String, NodeHandle> children;

    /** Newest first. Changed under the control lock, read by whoever resizes. */
    final List<NodeHandle> users = new CopyOnWriteArrayList<>();

    /** The dirty bitmaps by name, oldest first. Guarded by the control lock. */
    final Map<String, Bitmap> bitmaps = new LinkedHashMap<>();

    /** Made by blockdev-add and not yet given up by blockdev-del. */
    boolean ownedByMonitor;

    /** The driver is about to go: no new users. */
    boolean leaving;

    /** What the image was told last. */
    Perms committed = Perms.NONE;

    // What an open image is to requests. Changed only when none is under way
    private volatile BlockImage image;
    private volatile NodeOptions options;
    private volatile boolean readOnly;
    private volatile int flagMask;
    private volatile int zeroFlags;
    private volatile BlockLimits limits;
    private volatile int alignMask;
    private volatile int memoryMask;
    private volatile long maxTransfer;
    private volatile SlowPath slowPath;

    /** One for the graph: a resize of a node goes on to its parents, one of a parent to it. */
    private final ReentrantLock resizing;

    private final Logger logger;

    /** The size that users see: whole sectors. */
    private volatile long length;

    /** The size of the image: requests that stay below may go to it as they are. */
    private volatile long imageLength;

    /** Null if there are none, which is what each write asks. */
    private volatile WriteObserver[] observers;

    /** One past the last byte that was ever written. */
    private final AtomicLong writtenEnd = new AtomicLong();

    /** Null if there is none. Changed under this node's monitor. */
    private volatile WriteThreshold threshold;

    private int directUsers;

    Node(
            String name,
            BlockdevOptions given,
            BlockDriver<?> driver,
            NodeOptions options,
            BlockImage image,
            Map<String, NodeHandle> children,
            ReentrantLock resizing,
            Logger logger) {
        this.name = name;
        this.given = given;
        driverName = given.driver();
        this.driver = driver;
        this.children = children;
        this.resizing = resizing;
        this.logger = logger;
        adopt(image, options);
    }

    /** Takes an image, or another one. No request is under way. */
    void adopt(BlockImage opened, NodeOptions generic) {
        if (image != opened) {
            image = opened;
            committed = Perms.NONE;
        }
        options = generic;
        readOnly = generic.readOnly() || opened.readOnly();
        flagMask =
                ~((generic.noFlush() ? RequestFlags.FUA : 0)
                        | (generic.discard() ? 0 : RequestFlags.MAY_UNMAP));
        zeroFlags = generic.detectZeroes() == DetectZeroes.UNMAP ? RequestFlags.MAY_UNMAP : 0;
        BlockLimits now = opened.limits();
        limits = now;
        alignMask = now.requestAlignment() - 1;
        memoryMask = now.memoryAlignment() - 1;
        maxTransfer = now.maxTransfer() & ~(long) alignMask;
        measure();
        slowPath = new SlowPath(this);
        users.forEach(NodeHandle::optionsChanged);
    }

    /** The node-name. */
    public String name() {
        return name;
    }

    /** Whether it was opened read-only. */
    public boolean readOnly() {
        return readOnly;
    }

    /** Whether it can be used for more than to be read. */
    boolean active() {
        return options.active();
    }

    /** The open image. */
    BlockImage image() {
        return image;
    }

    /** The file name as QMP shows it. With the control lock held. */
    String filename() {
        return ImageNames.shown(this);
    }

    /** The generic options. */
    NodeOptions options() {
        return options;
    }

    /** A sentence's subject or object: how messages call it as the user of another node. */
    static String described(String nodeName) {
        return "node '" + nodeName + "'";
    }

    // --- What requests ask -------------------------------------------------------------------

    BlockLimits limits() {
        return limits;
    }

    /** Flags of a request that the image gets to see. */
    int flagMask() {
        return flagMask;
    }

    /** Flags that turning written zeroes into a zero request adds. */
    int zeroFlags() {
        return zeroFlags;
    }

    long length() {
        return length;
    }

    long imageLength() {
        return imageLength;
    }

    int alignment() {
        return alignMask + 1;
    }

    long maxTransfer() {
        return maxTransfer;
    }

    /**
     * Whether a read or write can go to the image as it stands, seen from its offset and length.
     */
    boolean straight(long offset, long bytes) {
        return Long.compareUnsigned(bytes - 1, maxTransfer) < 0 && inside(offset, bytes);
    }

    /** Whether a range is aligned and inside the image. */
    boolean inside(long offset, long bytes) {
        return offset >= 0
                && bytes > 0
                && offset <= imageLength - bytes
                && ((offset | bytes) & alignMask) == 0;
    }

    /** Whether the image can use this memory. */
    boolean aligned(IoVector vector) {
        if (memoryMask != 0) {
            for (int i = 0; i < vector.count(); i++) {
                long address = vector.base(i).address() + vector.offset(i);
                if (((address | vector.length(i)) & memoryMask) != 0) {
                    return false;
                }
            }
        }
        return true;
    }

    /** Refuses what is not inside the node. */
    void check(long offset, long bytes) throws BlockIoException {
        long size = length;
        if (offset < 0 || bytes < 0 || bytes > size || offset > size - bytes) {
            throw new BlockIoException(
                    Errno.EINVAL,
                    "operation past EOF; From: %d, Len: %d, Size: %d"
                            .formatted(offset, bytes, size));
        }
    }

    boolean detectsZeroes() {
        return options.detectZeroes() != DetectZeroes.OFF;
    }

    /** Bytes were written: notes how far, and tells the observers, if there are any. */
    void changed(long offset, long bytes) {
        long end = offset + bytes;
        long before = writtenEnd.getPlain();
        while (end > before && !writtenEnd.compareAndSet(before, end)) {
            before = writtenEnd.get();
        }
        discarded(offset, bytes);
    }

    /** Bytes were given up: tells the observers, if there are any. */
    void discarded(long offset, long bytes) {
        WriteObserver[] all = observers;
        if (all != null) {
            for (WriteObserver observer : all) {
                observer.changed(offset, bytes);
            }
        }
    }

    /** What carries out requests that cannot go straight. */
    SlowPath slowPath() {
        return slowPath;
    }

    // --- Observers and direct access: each keeps the other out ---------------------------------

    /**
     * Shows all changes from now on to an observer, including those of requests under way.
     *
     * @throws QmpException if somebody uses the node's file behind our back
     */
    synchronized void observe(WriteObserver observer) {
        if (directUsers > 0) {
            throw QmpException.generic("Node '%s' is in direct use by an export", name);
        }
        WriteObserver[] all = observers == null ? new WriteObserver[0] : observers;
        all = Arrays.copyOf(all, all.length + 1);
        all[all.length - 1] = observer;
        observers = all;
    }

    /** Shows changes no longer. */
    synchronized void unobserve(WriteObserver observer) {
        if (observers != null) {
            WriteObserver[] rest =
                    Arrays.stream(observers)
                            .filter(each -> each != observer)
                            .toArray(WriteObserver[]::new);
            observers = rest.length == 0 ? null : rest;
        }
    }

    /** One past the last byte that was ever written through us. */
    long writtenEnd() {
        return writtenEnd.get();
    }

    /** The end of writes behind which an event is sent, 0 for none. */
    long writeThreshold() {
        WriteThreshold now = threshold;
        return now == null ? 0 : now.bytes();
    }

    /**
     * Sets a threshold in the place of that of before.
     *
     * @param bytes the threshold, 0 for none
     * @param exceeded told once by how much, when a write goes beyond; there is none any more then
     * @throws QmpException if somebody uses the node's file behind our back
     */
    synchronized void writeThreshold(long bytes, LongConsumer exceeded) {
        if (bytes != 0) {
            WriteThreshold next = new WriteThreshold(this, bytes, exceeded);
            observe(next);
            replaceThreshold(next);
        } else {
            replaceThreshold(null);
        }
    }

    private void replaceThreshold(WriteThreshold next) {
        WriteThreshold before = threshold;
        threshold = next;
        if (before != null) {
            unobserve(before);
        }
    }

    /** A threshold was exceeded. */
    synchronized void thresholdEnded(WriteThreshold ended) {
        if (threshold == ended) {
            replaceThreshold(null);
        }
    }

    /** Whether requests may pass by; if so, nobody may observe until {@link #directEnded}. */
    synchronized boolean directBegins() {
        if (observers != null || detectsZeroes() || (imageLength & (SECTOR - 1)) != 0 || leaving) {
            return false;
        }
        directUsers++;
        return true;
    }

    synchronized void directEnded() {
        directUsers--;
    }

    /** Whether requests do pass by. */
    synchronized boolean inDirectUse() {
        return directUsers > 0;
    }

    // --- Size ------------------------------------------------------------------------------

    /** Changes the size, and tells the users. */
    void resize(long bytes) throws BlockIoException {
        if (readOnly) {
            throw new BlockIoException(Errno.EROFS, "Image is read-only");
        }
        if (bytes < 0) {
            throw new BlockIoException(Errno.EINVAL, "negative size");
        }
        resizing.lock();
        try {
            image.resize(bytes);
        } finally {
            refreshLength();
            resizing.unlock();
        }
    }

    /** Makes the image reach to at least {@code end}: its size was not one of whole blocks. */
    void extendTo(long end) throws BlockIoException {
        resizing.lock();
        try {
            if (image.length() < end) {
                image.resize(end);
            }
        } finally {
            refreshLength();
            resizing.unlock();
        }
    }

    /** The size of the image may have changed: takes it over, and tells the users. */
    void refreshLength() {
        refreshLength(length);
    }

    /**
     * The same, where the size may have been taken over already.
     *
     * @param before the size that users know
     */
    void refreshLength(long before) {
        resizing.lock();
        try {
            measure();
            if (length != before) {
                WriteObserver[] all = observers;
                if (all != null) {
                    for (WriteObserver observer : all) {
                        observer.resized();
                    }
                }
                for (NodeHandle user : users) {
                    user.resized();
                }
            }
        } finally {
            resizing.unlock();
        }
    }

    /** Takes the size of the image over, and tells nobody. */
    void measure() {
        long bytes = image.length();
        imageLength = bytes;
        length = bytes > Long.MAX_VALUE - SECTOR ? bytes : (bytes + SECTOR - 1) & -SECTOR;
    }

    // --- Persistent bitmaps ------------------------------------------------------------------

    /** Where bitmaps can be kept: nowhere if the image cannot be written. */
    Optional<BitmapStore> bitmapStore() {
        return readOnly || !active() ? Optional.empty() : image.bitmapStore();
    }

    /** Takes over the bitmaps in the image. With the control lock, while there are no requests. */
    void loadBitmaps() {
        BitmapStore store = image.bitmapStore().orElse(null);
        if (store == null) {
            return;
        }
        for (BitmapStore.Stored stored : store.stored()) {
            if (bitmaps.containsKey(stored.name())) {
                throw QmpException.generic(
                        "Bitmap '%s' of node '%s' is in memory and in the image",
                        stored.name(), name);
            }
            Bitmap bitmap = new Bitmap(this, stored.name(), stored.granularity());
            bitmap.persist();
            if (stored.inconsistent()) {
                bitmap.distrust();
            } else {
                try {
                    store.load(stored.name(), bitmap::set);
                } catch (BlockIoException e) {
                    throw new QmpException(
                            "Could not load bitmap '" + stored.name() + "': " + e.getMessage(), e);
                }
                bitmap.enable(stored.enabled());
                observe(bitmap);
            }
            bitmaps.put(stored.name(), bitmap);
        }
    }

    /** Writes the bitmaps that are to be kept into the image, if it can keep any. */
    void storeBitmaps() {
        try {
            storeBitmapsOrFail();
        } catch (RuntimeException e) {
            logger.error("Bitmaps of node {} were not stored", name, e);
        }
    }

    /**
     * The same for those who can do without.
     *
     * @throws QmpException if they could not be written
     */
    void storeBitmapsOrFail() {
        BitmapStore store = bitmapStore().orElse(null);
        if (store == null) {
            return;
        }
        List<Bitmap> all = bitmaps.values().stream().filter(Bitmap::persistent).toList();
        try {
            store.store(
                    all.stream()
                            .filter(bitmap -> !bitmap.inconsistent())
                            .map(Bitmap::kept)
                            .toList(),
                    all.stream().filter(Bitmap::inconsistent).map(Bitmap::name).toList());
        } catch (BlockIoException e) {
            throw new QmpException(
                    "Bitmaps of node '" + name + "' were not stored: " + e.getMessage(), e);
        }
    }

    /** Forgets the bitmaps that the image keeps: it is somebody else's who changes them now. */
    void dropStoredBitmaps() {
        for (Bitmap bitmap : List.copyOf(bitmaps.values())) {
            if (bitmap.persistent()) {
                unobserve(bitmap);
                bitmaps.remove(bitmap.name());
            }
        }
    }

    // --- End -------------------------------------------------------------------------------

    /** Closes the image. Users are gone, requests finished. */
    void close() {
        storeBitmaps();
        image.close();
    }
}
