package io.blockwharf.block.filter;

import io.blockwharf.api.block.BlockIoException;
import io.blockwharf.api.block.BlockLimits;
import io.blockwharf.api.block.BlockNode;
import io.blockwharf.api.block.Extent;
import io.blockwharf.api.block.ExtentSink;
import io.blockwharf.api.block.IoVector;
import io.blockwharf.api.block.JsonFilename;
import io.blockwharf.block.filter.BlkdebugOptions.BlkdebugEvent;
import io.blockwharf.block.filter.BlkdebugOptions.BlkdebugIOType;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;

/** Another node, whose requests fail when the rules say so. */
final class BlkdebugImage extends FilterImage {
    private final BlkdebugOptions options;
    private volatile BlockLimits limits;
    private final BlkdebugRules rules;

    BlkdebugImage(
            BlockNode child, BlkdebugOptions options, BlockLimits limits, BlkdebugRules rules) {
        super(child);
        this.options = options;
        this.limits = limits;
        this.rules = rules;
    }

    @Override
    public BlockLimits limits() {
        return limits;
    }

    /** Other limits than before. No request is under way. */
    void limits(BlockLimits next) {
        limits = next;
    }

    @Override
    public void read(long offset, IoVector into) throws BlockIoException {
        rules.happened(BlkdebugEvent.READ_AIO);
        rules.check(BlkdebugIOType.READ, offset, into.byteCount());
        child.read(offset, into);
    }

    @Override
    public void write(long offset, IoVector from, int flags) throws BlockIoException {
        rules.happened(BlkdebugEvent.WRITE_AIO);
        rules.happened(BlkdebugEvent.PWRITEV);
        rules.check(BlkdebugIOType.WRITE, offset, from.byteCount());
        child.write(offset, from, flags);
    }

    @Override
    public boolean tryRead(long offset, IoVector into) throws BlockIoException {
        return rules.empty() && child.tryRead(offset, into);
    }

    @Override
    public boolean tryWrite(long offset, IoVector from, int flags) throws BlockIoException {
        return rules.empty() && child.tryWrite(offset, from, flags);
    }

    @Override
    public void flush() throws BlockIoException {
        rules.happened(BlkdebugEvent.FLUSH_TO_OS);
        rules.happened(BlkdebugEvent.FLUSH_TO_DISK);
        rules.check(BlkdebugIOType.FLUSH, 0, 0);
        child.flush();
    }

    @Override
    public void discard(long offset, long length) throws BlockIoException {
        rules.check(BlkdebugIOType.DISCARD, offset, length);
        child.discard(offset, length);
    }

    @Override
    public void writeZeroes(long offset, long length, int flags) throws BlockIoException {
        rules.happened(BlkdebugEvent.PWRITEV_ZERO);
        rules.check(BlkdebugIOType.WRITE_ZEROES, offset, length);
        child.writeZeroes(offset, length, flags);
    }

    @Override
    public Extent extentAt(long offset, long length) throws BlockIoException {
        rules.check(BlkdebugIOType.BLOCK_STATUS, offset, length);
        return child.extentAt(offset, length);
    }

    @Override
    public void extents(long offset, long length, ExtentSink to) throws BlockIoException {
        rules.check(BlkdebugIOType.BLOCK_STATUS, offset, length);
        child.extents(offset, length, to);
    }

    @Override
    public String filename() {
        Map<String, Optional<String>> members = new LinkedHashMap<>();
        members.put("driver", Optional.of("\"blkdebug\""));
        members.put(BlkdebugDriver.CHILD, Optional.of(child.jsonOptions()));
        members.put("align", options.align().map(String::valueOf));
        members.put("max-transfer", options.maxTransfer().map(String::valueOf));
        var errors = options.injectError().orElse(List.of());
        for (int i = 0; i < errors.size(); i++) {
            String prefix = "inject-error." + i + ".";
            var rule = errors.get(i);
            members.put(prefix + "event", Optional.of(word(rule.event())));
            members.put(prefix + "state", rule.state().map(String::valueOf));
            members.put(
                    prefix + "iotype",
                    rule.iotype().map(BlkdebugImage::word).map(w -> w.replace('_', '-')));
            members.put(prefix + "errno", rule.errno().map(String::valueOf));
            members.put(prefix + "sector", rule.sector().map(String::valueOf));
            members.put(prefix + "once", rule.once().map(String::valueOf));
            members.put(prefix + "immediately", rule.immediately().map(String::valueOf));
        }
        var changes = options.setState().orElse(List.of());
        for (int i = 0; i < changes.size(); i++) {
            String prefix = "set-state." + i + ".";
            members.put(prefix + "event", Optional.of(word(changes.get(i).event())));
            members.put(prefix + "state", changes.get(i).state().map(String::valueOf));
            members.put(
                    prefix + "new_state", Optional.of(String.valueOf(changes.get(i).newState())));
        }
        return JsonFilename.of(members);
    }

    @Override
    public Optional<Boolean> dirty() {
        return Optional.empty(); // as a protocol, which it is to QEMU
    }

    @Override
    public Optional<Long> allocatedSize() {
        return Optional.empty();
    }

    private static String word(Enum<?> value) {
        return JsonFilename.text(value.name().toLowerCase(Locale.ROOT));
    }
}
