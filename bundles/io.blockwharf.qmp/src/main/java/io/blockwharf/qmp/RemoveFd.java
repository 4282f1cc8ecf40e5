package io.blockwharf.qmp;

import io.blockwharf.api.qmp.Nothing;
import io.blockwharf.api.qmp.QmpCommand;
import io.blockwharf.api.qmp.QmpException;
import io.blockwharf.api.qmp.QmpName;
import io.blockwharf.linux.FdSets;

import org.osgi.service.component.annotations.Component;

import java.util.Optional;

/** {@code remove-fd}: closes descriptors of a set. */
@Component
@QmpName("remove-fd")
public final class RemoveFd implements QmpCommand<RemoveFd.Arguments, Nothing> {
    /**
     * The arguments.
     *
     * @param fdsetId the set
     * @param fd the descriptor (default: all of the set)
     */
    public record Arguments(long fdsetId, Optional<Long> fd) {}

    @Override
    public Nothing execute(Arguments arguments) {
        if (!FdSets.ofProcess().remove(arguments.fdsetId(), arguments.fd())) {
            throw QmpException.generic(
                    "File descriptor named 'fdset-id:%d%s' not found",
                    arguments.fdsetId(), arguments.fd().map(fd -> ", fd:" + fd).orElse(""));
        }
        return Nothing.NOTHING;
    }
}
