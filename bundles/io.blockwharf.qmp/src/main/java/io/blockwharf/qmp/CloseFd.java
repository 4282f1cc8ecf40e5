package io.blockwharf.qmp;

import io.blockwharf.api.qmp.Nothing;
import io.blockwharf.api.qmp.QmpCommand;
import io.blockwharf.api.qmp.QmpException;
import io.blockwharf.api.qmp.QmpName;

import org.osgi.service.component.annotations.Component;

/** {@code closefd}: closes what {@code getfd} named, unless it was used since. */
@Component
@QmpName("closefd")
public final class CloseFd implements QmpCommand<GetFd.Arguments, Nothing> {
    @Override
    public Nothing execute(GetFd.Arguments arguments) {
        String name = arguments.fdname();
        if (!Session.CURRENT.isBound() || !Session.CURRENT.get().names().drop(name)) {
            throw QmpException.generic("File descriptor named '%s' not found", name);
        }
        return Nothing.NOTHING;
    }
}
