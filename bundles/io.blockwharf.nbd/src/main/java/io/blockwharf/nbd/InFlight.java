package io.blockwharf.nbd;

import io.blockwharf.api.block.BlockNode;
import io.blockwharf.api.block.BlockQueue;
import io.blockwharf.api.block.Errno;
import io.blockwharf.api.block.RequestFlags;
import io.blockwharf.nbd.wire.CommandFlags;

import java.lang.foreign.Arena;
import java.util.Optional;

/**
 * The requests of a client that are under way in the node's queue, each in a slot of its own: so
 * many at most, and with so much memory. The queue is opened for the first one. Owned by the thread
 * that serves the connection.
 */
final class InFlight implements AutoCloseable {
    /** Requests in the queue at a time. */
    static final int MOST = 16;

    /**
     * Most bytes that the slots of a client hold; a single request may always have what it needs.
     */
    private static final long MAX_HELD = 64 << 20;

    private final BlockNode node;
    private final Arena arena;
    private final BlockQueue.Completion completion = this::completed;
    private final Slot[] slots = new Slot[MOST];

    /** Slots that are completed and not taken from here yet. */
    private final int[] done = new int[MOST];

    private int doneCount;
    private BlockQueue queue;
    private int free = (1 << MOST) - 1;
    private int count;
    private boolean started;
    private boolean released;
    private long held;

    /** For one connection; {@code arena} is for what describes requests. */
    InFlight(BlockNode node, Arena arena) {
        this.node = node;
        this.arena = arena;
    }

    /** Requests under way; those that are completed and not finished count. */
    int count() {
        return count;
    }

    /** Slots that nobody has. */
    int free() {
        return Integer.bitCount(free);
    }

    /** The queue that completions come from, once there is one. */
    Optional<BlockQueue> opened() {
        return Optional.ofNullable(queue);
    }

    /** The queue for a slot that was taken. */
    BlockQueue queue() {
        return queue;
    }

    // ---- slots

    /** A slot with room for {@code length} bytes of data, or null: wait for one. */
    Slot take(long length) {
        if (free == 0) {
            return null;
        }
        if (queue == null) {
            queue = node.openQueue(MOST);
            for (int i = 0; i < MOST; i++) {
                slots[i] = new Slot(i, arena);
            }
        }
        Slot slot = slots[Integer.numberOfTrailingZeros(free)];
        if (length > 0) {
            if (held - slot.held() + slot.wouldHold(length) > MAX_HELD) {
                giveBackIdle();
                boolean alone = Integer.bitCount(free) == MOST;
                if (!alone && held + slot.wouldHold(length) > MAX_HELD) {
                    return null;
                }
            }
            held -= slot.held();
            slot.reserve(length);
            held += slot.held();
        }
        free &= ~(1 << slot.index);
        return slot;
    }

    private void giveBackIdle() {
        for (Slot slot : slots) {
            if ((free & 1 << slot.index) != 0) {
                held -= slot.held();
                slot.close();
            }
        }
    }

    /** The request is answered: its slot is for another one. */
    void release(Slot slot) {
        held -= slot.held();
        slot.release();
        held += slot.held();
        free |= 1 << slot.index;
        released = true;
    }

    /** The same for a set of slots, by their numbers as bits. */
    void release(int set) {
        for (int rest = set; rest != 0; rest &= rest - 1) {
            release(slots[Integer.numberOfTrailingZeros(rest)]);
        }
    }

    /** Whether a slot was released since {@link #forgetReleased}. */
    boolean released() {
        return released;
    }

    void forgetReleased() {
        released = false;
    }

    // ---- requests

    /** Puts a read into the queue. */
    void read(Slot slot) {
        queue.read(slot.index, slot.offset, slot.vector.set(slot.memory, Slot.DATA, slot.length));
        begun();
    }

    /** Puts a write into the queue. */
    void write(Slot slot) {
        queue.write(
                slot.index,
                slot.offset,
                slot.vector.set(slot.memory, Slot.DATA, slot.length),
                (slot.flags & CommandFlags.FUA) != 0 ? RequestFlags.FUA : 0);
        begun();
    }

    /** A request was put into the {@link #queue}. */
    void begun() {
        count++;
        started = true;
    }

    /** A request in the queue has another step there. */
    void goesOn() {
        started = true;
    }

    /** Whether there is something to submit. */
    boolean started() {
        return started;
    }

    /** Hands what was begun to the device; some of it may be {@link #completed} at once. */
    void submit() {
        if (started) {
            started = false;
            queue.submit();
            queue.reap(completion);
        }
    }

    /** Hands it over early; {@link #submit} takes what is completed. */
    void submitEarly() {
        if (started) {
            queue.submit();
        }
    }

    /** Takes note of what is completed. */
    void reap() {
        queue.reap(completion);
    }

    private void completed(long cookie, Errno result) {
        Slot slot = slots[(int) cookie];
        slot.result = result;
        done[doneCount++] = slot.index;
    }

    /** How many requests are completed and not finished. */
    int completed() {
        return doneCount;
    }

    /** One of them, the oldest first. */
    Slot completed(int index) {
        return slots[done[index]];
    }

    /** The first ones are finished. */
    void finished(int first) {
        doneCount -= first;
        System.arraycopy(done, first, done, 0, doneCount);
    }

    /** A request is not under way any more; its slot is still taken. */
    void ended() {
        count--;
    }

    /** Nobody is there to be told of what is completed. */
    void forgetCompleted() {
        count -= doneCount;
        doneCount = 0;
    }

    /** Waits for what is under way and gives all memory back. */
    @Override
    public void close() {
        if (queue != null) {
            queue.close();
            for (Slot slot : slots) {
                slot.close();
            }
        }
    }
}
