package io.blockwharf.core.object;

import io.blockwharf.api.qmp.Nothing;
import io.blockwharf.api.qmp.QmpCommand;
import io.blockwharf.api.qmp.QmpName;

import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Reference;

/** QMP {@code object-del}. */
@Component
@QmpName("object-del")
public final class ObjectDel implements QmpCommand<ObjectDel.Arguments, Nothing> {
    /** Which object. */
    public record Arguments(String id) {}

    private final Objects objects;

    /** Deletes from that store. */
    @Activate
    public ObjectDel(@Reference Objects objects) {
        this.objects = objects;
    }

    @Override
    public Nothing execute(Arguments arguments) {
        objects.delete(arguments.id());
        return Nothing.NOTHING;
    }
}
