package io.blockwharf.block.filter;

import io.blockwharf.api.block.BlockIoException;
import io.blockwharf.api.block.BlockNode;
import io.blockwharf.api.block.IoVector;
import io.blockwharf.api.block.JsonFilename;
import io.blockwharf.api.qmp.ObjectStore;

import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;

/**
 * Another node, slowed down. Requests may have to wait, so none is carried out inline while there
 * is a limit. Discards and zeroes count as writes, flushes not at all, as in QEMU's
 * block/throttle.c.
 */
final class ThrottleImage extends FilterImage {
    private final String groupName;
    private final ObjectStore.Use<ThrottleGroup> use;
    private final ThrottleGroup group;

    ThrottleImage(BlockNode child, String groupName, ObjectStore.Use<ThrottleGroup> use) {
        super(child);
        this.groupName = groupName;
        this.use = use;
        group = use.object();
    }

    @Override
    public void read(long offset, IoVector into) throws BlockIoException {
        group.await(false, into.byteCount());
        child.read(offset, into);
    }

    @Override
    public void write(long offset, IoVector from, int flags) throws BlockIoException {
        group.await(true, from.byteCount());
        child.write(offset, from, flags);
    }

    @Override
    public boolean tryRead(long offset, IoVector into) throws BlockIoException {
        return group.unlimited() && child.tryRead(offset, into);
    }

    @Override
    public boolean tryWrite(long offset, IoVector from, int flags) throws BlockIoException {
        return group.unlimited() && child.tryWrite(offset, from, flags);
    }

    @Override
    public void discard(long offset, long length) throws BlockIoException {
        group.await(true, length);
        child.discard(offset, length);
    }

    @Override
    public void writeZeroes(long offset, long length, int flags) throws BlockIoException {
        group.await(true, length);
        child.writeZeroes(offset, length, flags);
    }

    @Override
    public String filename() {
        Map<String, Optional<String>> members = new LinkedHashMap<>();
        members.put("driver", Optional.of("\"throttle\""));
        members.put("throttle-group", Optional.of(JsonFilename.text(groupName)));
        members.put("file", Optional.of(child.jsonOptions()));
        return JsonFilename.of(members);
    }

    @Override
    public void close() {
        use.close();
    }
}
