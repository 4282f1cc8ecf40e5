package io.blockwharf.core.object;

import io.blockwharf.api.qmp.ObjectType;
import io.blockwharf.api.qmp.ObjectTypeName;
import io.blockwharf.api.qmp.QmpException;

import org.osgi.service.component.annotations.Component;

import java.util.Optional;

/** The object type {@code iothread}: a thread that serves several exports. */
@Component
@ObjectTypeName("iothread")
public final class IoThreadType implements ObjectType<IoThreadType.Properties> {
    /** QEMU, {@code THREAD_POOL_MAX_THREADS_DEFAULT}. */
    private static final long THREAD_POOL_MAX = 64;

    /**
     * QAPI {@code IothreadProperties}.
     *
     * @param aioMaxBatch checked, without effect: a node's queue is submitted once per round of the
     *     loop, however much is in it
     * @param threadPoolMin checked, without effect: threads for requests that would block belong to
     *     the nodes, not to the loops
     * @param threadPoolMax checked, without effect, as {@code threadPoolMin}
     * @param pollMaxNs longest time to poll before sleeping, 0 for not at all (default 32768)
     * @param pollGrow by which factor the time grows while polling is not enough, 0 for 2
     * @param pollShrink by which divisor it shrinks when a wait was longer than that, 0 for not
     */
    public record Properties(
            Optional<Long> aioMaxBatch,
            Optional<Long> threadPoolMin,
            Optional<Long> threadPoolMax,
            Optional<Long> pollMaxNs,
            Optional<Long> pollGrow,
            Optional<Long> pollShrink) {}

    @Override
    public Object create(String id, Properties properties) {
        Properties all = complete(properties);
        return LoopThread.start(
                id, "IO " + id, all.pollMaxNs.get(), all.pollGrow.get(), all.pollShrink.get());
    }

    @Override
    public void change(Object object, Properties properties) {
        Properties all = complete(properties);
        ((LoopThread) object)
                .polling(all.pollMaxNs.get(), all.pollGrow.get(), all.pollShrink.get());
    }

    @Override
    public Properties complete(Properties given) {
        long min = checked("thread-pool-min", given.threadPoolMin(), 0);
        long max = checked("thread-pool-max", given.threadPoolMax(), THREAD_POOL_MAX);
        if (min > max || max == 0 || max > Integer.MAX_VALUE) {
            throw QmpException.generic("bad thread-pool-min/thread-pool-max values");
        }
        return new Properties(
                Optional.of(checked("aio-max-batch", given.aioMaxBatch(), 0)),
                Optional.of(min),
                Optional.of(max),
                Optional.of(checked("poll-max-ns", given.pollMaxNs(), LoopThread.POLL_MAX_NANOS)),
                Optional.of(checked("poll-grow", given.pollGrow(), 0)),
                Optional.of(checked("poll-shrink", given.pollShrink(), 0)));
    }

    private static long checked(String name, Optional<Long> given, long otherwise) {
        if (given.isPresent() && given.get() < 0) {
            throw QmpException.generic("%s value must be in range [0, %d]", name, Long.MAX_VALUE);
        }
        return given.orElse(otherwise);
    }
}
