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

    /** The same properties with the defaults for what is not given: {@code qom-get}. */
    default O complete(O given) {
        return given;
    }

    /**
     * Changes the properties of an object: {@code qom-set}.
     *
     * @param object what {@link #create} made
     * @param properties all of them, one of them changed
     * @throws QmpException with nothing changed; by default always
     */
    default void change(Object object, O properties) {
        throw QmpException.generic("Property cannot be set after initialization");
    }
}
