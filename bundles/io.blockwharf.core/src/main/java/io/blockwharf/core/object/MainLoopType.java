package io.blockwharf.core.object;

import io.blockwharf.api.qmp.ObjectType;
import io.blockwharf.api.qmp.ObjectTypeName;
import io.blockwharf.api.qmp.QmpException;

import org.osgi.service.component.annotations.Component;

import java.util.Optional;

/**
 * The object type {@code main-loop}, of which there is one at most. There is no such loop here:
 * every export has threads of its own. Properties are checked, and have no effect.
 */
@Component
@ObjectTypeName("main-loop")
public final class MainLoopType implements ObjectType<MainLoopType.Properties> {
    /** QEMU, {@code THREAD_POOL_MAX_THREADS_DEFAULT}. */
    private static final long THREAD_POOL_MAX = 64;

    private boolean there;

    /**
     * QAPI {@code MainLoopProperties}; see {@link IoThreadType.Properties}.
     *
     * @param aioMaxBatch requests that are submitted at once
     * @param threadPoolMin threads that are kept
     * @param threadPoolMax threads at most
     */
    public record Properties(
            Optional<Long> aioMaxBatch,
            Optional<Long> threadPoolMin,
            Optional<Long> threadPoolMax) {}

    @Override
    public synchronized Object create(String id, Properties properties) {
        if (there) {
            throw QmpException.generic("only one main-loop instance allowed");
        }
        checked(properties);
        there = true;
        AutoCloseable object = this::gone;
        return object;
    }

    private synchronized void gone() {
        there = false;
    }

    @Override
    public void change(Object object, Properties properties) {
        checked(properties);
    }

    @Override
    public Properties complete(Properties given) {
        return checked(given);
    }

    /** All of them, if they can be had. */
    static Properties checked(Properties given) {
        long min = IoThreadType.checked("thread-pool-min", given.threadPoolMin(), 0);
        long max = IoThreadType.checked("thread-pool-max", given.threadPoolMax(), THREAD_POOL_MAX);
        if (min > max || max == 0 || max > Integer.MAX_VALUE) {
            throw QmpException.generic("bad thread-pool-min/thread-pool-max values");
        }
        return new Properties(
                Optional.of(IoThreadType.checked("aio-max-batch", given.aioMaxBatch(), 0)),
                Optional.of(min),
                Optional.of(max));
    }
}
