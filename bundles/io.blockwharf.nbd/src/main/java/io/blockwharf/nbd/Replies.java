package io.blockwharf.nbd;

import io.blockwharf.api.block.BlockNode;
import io.blockwharf.api.block.Errno;
import io.blockwharf.api.block.HostExtent;
import io.blockwharf.linux.NativeMemory;
import io.blockwharf.nbd.link.Link;
import io.blockwharf.nbd.wire.Command;
import io.blockwharf.nbd.wire.NbdError;
import io.blockwharf.nbd.wire.ReplyStyle;
import io.blockwharf.nbd.wire.RequestHeader;

import java.io.IOException;
import java.lang.foreign.MemorySegment;

/**
 * The replies to a client, in the order in which they leave: headers and short data in a buffer,
 * long data in slots, and what lies in files.
 *
 * <p>Room is asked for first ({@link #room}), then a reply written. Replies to reads may be <em>
 * promised</em>: their data is read by a {@link ReadBatch} just before the buffer leaves, and what
 * could not be read is taken out again. Owned by the thread that serves the connection.
 */
final class Replies implements AutoCloseable {
    private static final int FIRST_BYTES = 8 << 10;
    private static final int PAGE = 4096;

    /** The largest buffer. */
    static final int MAX_BYTES = 1 << 20;

    private final Link link;
    private final ReplyStyle style;
    private final BlockNode node;
    private final InFlight inFlight;
    private final Counters counters;
    private final ReadBatch batch;

    private NativeMemory owned;
    private MemorySegment memory;

    /** Replies are in {@code [0, end)}; what lies before {@code queued} was given to the link. */
    private int end;

    private int queued;

    /** Slots whose data is on its way, as bits. */
    private int sending;

    /** The socket is full. */
    private boolean blocked;

    /** A file is on its way behind a chunk that was not the last; the last one follows. */
    private boolean trailer;

    private long trailerCookie;
    private long trailerOrigin;
    private long trailerAt;

    /** The node keeps the file that is on its way open. */
    private boolean pinned;

    Replies(Link link, ReplyStyle style, BlockNode node, InFlight inFlight, Counters counters) {
        this.link = link;
        this.style = style;
        this.node = node;
        this.inFlight = inFlight;
        this.counters = counters;
        batch = new ReadBatch(node);
        allocate(FIRST_BYTES);
    }

    private void allocate(int bytes) {
        owned = NativeMemory.allocate(bytes, PAGE);
        memory = owned.segment();
    }

    /** Whether the socket has to take something before anything else can be done. */
    boolean blocked() {
        return blocked;
    }

    // ---- room

    /** Where replies are written, from {@link #end} on. */
    MemorySegment memory() {
        return memory;
    }

    int end() {
        return end;
    }

    /** Bytes that still fit into the buffer as it is. */
    long space() {
        return memory.byteSize() - end;
    }

    /** A reply of that many bytes was written at {@link #end}. */
    void written(int bytes) {
        end += bytes;
    }

    /** Makes room in the buffer; false if the socket has to take something first. */
    boolean room(int bytes) throws IOException {
        if (!link.full() && space() >= bytes) {
            return true;
        }
        boolean tooSmall = space() < bytes;
        if (!flush(true)) {
            return false;
        }
        if (tooSmall) {
            // The end of a reply that a file was part of may be in the way
            if (end > 0 && !flush(true)) {
                return false;
            }
            grow(bytes);
        }
        return true;
    }

    private void grow(int bytes) {
        long larger = memory.byteSize();
        while (larger < MAX_BYTES && (larger == memory.byteSize() || larger < bytes)) {
            larger *= 4;
        }
        if (larger > memory.byteSize()) {
            owned.close();
            allocate((int) Math.min(larger, MAX_BYTES));
        }
    }

    // ---- replies

    /** Other than to READ and BLOCK_STATUS. */
    void success(long cookie, long origin) {
        end += style.success(memory, end, cookie, origin);
    }

    void error(long cookie, long origin, NbdError error, String text) {
        end += style.error(memory, end, cookie, origin, error, text == null ? "" : text);
        counters.errors++;
    }

    /** To a read of nothing. */
    void nothing(RequestHeader header) {
        end +=
                style == ReplyStyle.SIMPLE
                        ? style.success(memory, end, header.cookie(), header.offset())
                        : style.end(memory, end, header.cookie(), header.offset());
    }

    void hole(RequestHeader header, long at, int length, boolean last) {
        end += style.hole(memory, end, header.cookie(), header.offset(), at, length, last);
    }

    /** Where data has to be before {@link #data} tells of it. */
    long dataPlace() {
        return (long) end + style.dataHeaderBytes();
    }

    /** With data that lies at {@link #dataPlace}. */
    void data(RequestHeader header, long offset, int length, boolean last) {
        end +=
                style.data(memory, end, header.cookie(), header.offset(), offset, length, last)
                        + length;
    }

    /** With the data of a slot, which is released when it has left. */
    void data(Slot slot) {
        int at = Slot.DATA - style.dataHeaderBytes();
        int length = (int) slot.length;
        style.data(slot.memory, at, slot.cookie, slot.origin, slot.offset, length, true);
        queue();
        link.add(slot.memory, at, Slot.DATA - at + length);
        sending |= 1 << slot.index;
    }

    // ---- files

    /**
     * With data that lies in a file, whose pages are not copied. {@link #room} was made for the
     * header.
     *
     * @return false if it does not lie in one that stays open, or the graph changes just now
     */
    boolean dataOfFile(RequestHeader header, long offset, int length) {
        if (!node.pin()) {
            return false;
        }
        HostExtent host = node.hostExtent(offset, length).orElse(null);
        if (host == null || !host.covers(offset, length)) {
            node.unpin();
            return false;
        }
        pinned = true;
        long cookie = header.cookie();
        // "MUST NOT mark a chunk as final if there is still a possibility of detecting an error"
        end += style.data(memory, end, cookie, header.offset(), offset, length, false);
        queue();
        link.addFile(host.fd(), host.positionOf(offset), length, style != ReplyStyle.SIMPLE);
        if (style != ReplyStyle.SIMPLE) {
            trailer = true;
            trailerCookie = cookie;
            trailerOrigin = header.offset();
            trailerAt = offset;
        }
        return true;
    }

    private void endFile() {
        if (link.fileFailed()) {
            end +=
                    style.errorOffset(
                            memory,
                            end,
                            trailerCookie,
                            trailerOrigin,
                            NbdError.EIO,
                            "reading from file failed",
                            trailerAt);
            counters.errors++;
        } else {
            end += style.end(memory, end, trailerCookie, trailerOrigin);
        }
    }

    /** No file is on its way any more. */
    private void unpin() {
        if (pinned) {
            pinned = false;
            node.unpin();
        }
    }

    // ---- promises

    /**
     * Whether the reply to a read should be promised.
     *
     * @param more how many requests there are behind it, about
     */
    boolean promises(int length, int more) {
        leaveSlots();
        return inFlight.free() != 0 && batch.wants(length, more);
    }

    /** The last part of a read, or all of it; {@link #room} was made for it. */
    void promise(RequestHeader header, long offset, int length) {
        long cookie = header.cookie();
        long origin = header.offset();
        batch.add(memory, end, style.dataHeaderBytes(), cookie, origin, offset, length);
        data(header, offset, length, true);
    }

    /** A slot that no promised read may need, with room for so much data; null: wait for one. */
    Slot slot(long length) {
        leaveSlots();
        return inFlight.take(length);
    }

    /** Each promised read may need a slot in the end. */
    private void leaveSlots() {
        if (batch.count() > 0 && batch.count() == inFlight.free()) {
            keepPromises();
        }
    }

    /**
     * Carries the batch out. Replies to reads that did not succeed are taken out of the buffer, the
     * last one first; nothing of it has been given to the link.
     */
    private void keepPromises() {
        if (batch.count() == 0) {
            return;
        }
        if (batch.run()) {
            for (int i = batch.count() - 1; i >= 0; i--) {
                if (batch.result(i) != Errno.OK) {
                    takeBack(i);
                }
            }
            inFlight.submitEarly();
        }
        batch.clear();
    }

    private void takeBack(int index) {
        int at = batch.place(index);
        int length = batch.length(index);
        int behind = at + style.dataHeaderBytes() + length;
        long cookie = batch.cookie(index);
        long origin = batch.origin(index);
        boolean cold = batch.result(index) == Errno.EAGAIN;
        Slot slot = cold ? inFlight.take(length) : null;
        int instead = 0;
        if (slot != null) {
            slot.describe(Command.READ, 0, cookie, origin, batch.offset(index), length);
            slot.arrived = counters.arrived;
            counters.notDone(Counters.READ);
            inFlight.read(slot);
        } else {
            Errno why = cold ? Errno.ENOMEM : batch.result(index);
            String text = "READ failed: " + why;
            instead = style.error(memory, at, cookie, origin, NbdError.of(why), text);
            counters.errors++;
        }
        MemorySegment.copy(memory, behind, memory, (long) at + instead, end - behind);
        end -= behind - at - instead;
    }

    // ---- sending

    private void queue() {
        keepPromises();
        if (end > queued) {
            link.add(memory, queued, end - queued);
            queued = end;
        }
    }

    /**
     * Sends what there is.
     *
     * @param more whether more follows at once
     * @return false if the socket is full
     */
    boolean flush(boolean more) throws IOException {
        do {
            queue();
            if (!link.flush(more || trailer)) {
                blocked = true;
                return false;
            }
            blocked = false;
            end = 0;
            queued = 0;
            unpin();
            inFlight.release(sending);
            sending = 0;
            if (trailer) {
                trailer = false;
                endFile();
                if (more) {
                    return true;
                }
            }
        } while (end > 0);
        return true;
    }

    /** The client is gone: nothing will be sent. */
    void abandon() {
        unpin();
    }

    @Override
    public void close() {
        unpin();
        batch.close();
        owned.close();
        memory = MemorySegment.NULL;
    }
}
