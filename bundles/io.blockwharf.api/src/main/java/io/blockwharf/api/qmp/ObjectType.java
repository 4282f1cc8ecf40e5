package io.blockwharf.api.qmp;

import org.osgi.annotation.versioning.ConsumerType;

/**
 * Makes user-creatable objects of one type ({@code object-add}, {@code --object}): iothreads, TLS
 * credentials, authorizers, throttle groups. A service whose type is given by {@link
 * ObjectTypeName}.
 *
 * @param <O> the QAPI type of the object's properties
 */
@ConsumerType
public interface ObjectType<O extends Record> {
    /**
     * Makes an object. If it is {@link AutoCloseable} it is closed when it is deleted.
     *
     * @throws QmpException with nothing left behind
     */
    Object create(String id, O properties);
}
