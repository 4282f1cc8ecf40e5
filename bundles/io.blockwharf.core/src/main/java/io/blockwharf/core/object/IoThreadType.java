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
        MainLoopType.Properties base =
                MainLoopType.checked(
                        new MainLoopType.Properties(
                                given.aioMaxBatch(), given.threadPoolMin(), given.threadPoolMax()));
        return new Properties(
                base.aioMaxBatch(),
                base.threadPoolMin(),
                base.threadPoolMax(),
                Optional.of(checked("poll-max-ns", given.pollMaxNs(), LoopThread.POLL_MAX_NANOS)),
                Optional.of(checked("poll-grow", given.pollGrow(), 0)),
                Optional.of(checked("poll-shrink", given.pollShrink(), 0)));
    }

    static long checked(String name, Optional<Long> given, long otherwise) {
        if (given.isPresent() && given.get() < 0) {
            throw QmpException.generic("%s value must be in range [0, %d]", name, Long.MAX_VALUE);
        }
        return given.orElse(otherwise);
    }
}
